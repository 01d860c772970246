package httpguard

import (
	"encoding/json"
	"net/http"
	"strconv"
	"time"

	"golang.org/x/text/language"
)

// problems are the bodies by status and language, made once: what is the same
// for everybody tells nothing.
type problems struct {
	languages language.Matcher
	tags      []string
	bodies    map[int][]json.RawMessage
}

// problem is a body of RFC 9457. Its type is about:blank: the status says it
// all.
type problem struct {
	Type   string `json:"type"`
	Title  string `json:"title"`
	Status int    `json:"status"`
	Detail string `json:"detail"`
}

func newProblems() problems {
	p := problems{
		languages: language.NewMatcher([]language.Tag{language.English, language.Chinese}), // the first one where none fits
		tags:      []string{"en", "zh"},
		bodies:    map[int][]json.RawMessage{},
	}
	for status, texts := range map[int][2][2]string{
		http.StatusUnauthorized: {
			{"Unauthorized", "Log in, and try again."},
			{"未登录", "请登录后重试。"},
		},
		http.StatusForbidden: {
			{"Forbidden", "You may see this, and may not do this to it."},
			{"无权操作", "您可以查看该内容,但无权执行此操作。"},
		},
		http.StatusNotFound: {
			{"Not Found", "There is nothing here that you may see."},
			{"未找到", "此处没有您可以查看的内容。"},
		},
		http.StatusServiceUnavailable: {
			{"Service Unavailable", "This cannot be answered now. Try again later."},
			{"暂时无法处理", "目前无法处理该请求,请稍后重试。"},
		},
	} {
		for _, t := range texts {
			body, _ := json.Marshal(problem{"about:blank", t[0], status, t[1]}) //nolint:errchkjson // texts and a number
			p.bodies[status] = append(p.bodies[status], body)
		}
	}
	return p
}

// write answers with a problem, as HEAD with its headers alone.
func (p *problems) write(w http.ResponseWriter, r *http.Request, status int, headers map[string]string) {
	wanted, _, _ := language.ParseAcceptLanguage(r.Header.Get("Accept-Language")) // what cannot be read asks for nothing
	_, i, _ := p.languages.Match(wanted...)
	body := p.bodies[status][i]
	h := w.Header()
	for name, value := range headers {
		h.Set(name, value)
	}
	h.Set("Content-Type", "application/problem+json")
	h.Set("Content-Language", p.tags[i])
	h.Set("Content-Length", strconv.Itoa(len(body)))
	h.Set("Cache-Control", "no-store")
	h.Add("Vary", "Accept-Language")
	h.Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	if r.Method != http.MethodHead {
		_, _ = w.Write(body) // whoever asked has gone
	}
}

func seconds(d time.Duration) string {
	return strconv.Itoa(max(1, int(d.Round(time.Second)/time.Second)))
}
