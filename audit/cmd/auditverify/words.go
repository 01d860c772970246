package main

import (
	"encoding/hex"
	"fmt"
	"io"
	"strconv"
	"strings"
	"unicode"

	"github.com/crmguard/crmguard/audit/auditlog"
)

// words is what the program says in one language.
type words struct {
	usage, unusable                                   string
	verdict, log, entries, root, kept, keys, faults   string
	verified, anchors, more, noKept, rotated, revoked string
	keptSize, entry, pruned                           string
	verdicts                                          map[auditlog.Verdict]string
	what                                              map[string]string // of faults, from English; nil leaves them
}

// wordsOf chooses the language. known is false where -lang asks for one that
// there is not.
func wordsOf(lang string, env func(string) string) (w words, known bool) {
	switch lang {
	case "zh":
		return chinese(), true
	case "en":
		return english(), true
	case "":
		for _, name := range []string{"LC_ALL", "LC_MESSAGES", "LANG"} {
			if value := env(name); value != "" {
				if strings.HasPrefix(value, "zh") {
					return chinese(), true
				}
				break
			}
		}
		return english(), true
	}
	return english(), false
}

func english() words {
	return words{
		usage: `usage: auditverify [-lang en|zh] [-former KEY]... DIR KEY [KEPT]

DIR      folder of the published log
KEY      its verifier key, or a file that holds it
KEPT     a file with a checkpoint that was kept elsewhere
-former  a key that signed before KEY, or beside it

exit codes: 0 ok, 10 unanchored, 11 incomplete, 12 rolled back, 13 forked,
14 tampered (also where KEY is of another log), 64 nothing was checked
`,
		unusable: "nothing was checked",
		verdict:  "verdict", log: "log", entries: "entries", root: "root", kept: "kept", keys: "key", faults: "fault",
		verified: "%d, verified %d", anchors: "anchors of other stores: %d", more: "and %d more",
		noKept: "none was handed in", rotated: "signs from here on", revoked: "counts no more", keptSize: "%d entries", entry: "entry %d",
		pruned: "%d went with retention: their hashes were verified, what they said is gone",
		verdicts: map[auditlog.Verdict]string{
			auditlog.OK:         "OK: the log is sound, and it continues the kept checkpoint",
			auditlog.Unanchored: "UNANCHORED: the log is sound by itself; without a kept checkpoint nobody can tell whether it is the one that others saw",
			auditlog.Incomplete: "INCOMPLETE: something is missing or cannot be read, or the check was interrupted",
			auditlog.RolledBack: "ROLLED BACK: the log is older than the kept checkpoint: the newest entries are gone",
			auditlog.Forked:     "FORKED: this is another history than the one whose checkpoint was kept",
			auditlog.Tampered:   "TAMPERED: bytes do not match what was signed",
		},
	}
}

func chinese() words {
	return words{
		usage: `用法: auditverify [-lang en|zh] [-former 公钥]... 目录 公钥 [留存]

目录     已发布日志所在的文件夹
公钥     该日志的验证公钥,或存有它的文件
留存     在别处留存的检查点文件
-former  在现用公钥之前或与之同时签名的公钥

退出码: 0 正常, 10 无锚点, 11 不完整, 12 已回退, 13 已分叉, 14 被篡改,
64 未作任何检查
`,
		unusable: "未作任何检查",
		verdict:  "结论", log: "日志", entries: "条目", root: "根哈希", kept: "留存", keys: "密钥", faults: "问题",
		verified: "共 %d 条,已核对 %d 条", anchors: "其他存储的锚点: %d", more: "另有 %d 处",
		noKept: "未提供", rotated: "自此开始签名", revoked: "不再有效", keptSize: "%d 条", entry: "第 %d 条",
		pruned: "其中 %d 条已按保留期限删除: 哈希已核对,内容已不在",
		verdicts: map[auditlog.Verdict]string{
			auditlog.OK:         "正常: 日志完好,并且延续了留存的检查点",
			auditlog.Unanchored: "无锚点: 日志自身完好;没有留存的检查点,无法断定它就是他人见过的那一份",
			auditlog.Incomplete: "不完整: 有文件缺失或无法读取,或检查被中断",
			auditlog.RolledBack: "已回退: 日志早于留存的检查点,最新的条目已不在",
			auditlog.Forked:     "已分叉: 这与留存检查点的那份历史不是同一份",
			auditlog.Tampered:   "被篡改: 内容与所签名的不符",
		},
		what: map[string]string{
			"the checkpoint cannot be read": "检查点无法读取",
			"there is no checkpoint: nothing was published yet, or this is not the folder of a log": "没有检查点: 尚未发布过,或此文件夹不是日志",
			"the verification was interrupted":                                                           "检查被中断",
			"the checkpoint was changed: this key did not sign what it says":                             "检查点被改动: 其内容并非由此密钥签名",
			"the checkpoint is empty or ends too early: a write was torn, or it was cut":                 "检查点为空或过早结束: 写入中断,或被截断",
			"the checkpoint has more signatures than are looked at: take those of others away":           "检查点的签名多于所检查的数目: 请去掉他人的签名",
			"the checkpoint is not signed by this key: the wrong verifier key, or another log":           "检查点不是由此密钥签名: 公钥不对,或是另一份日志",
			"this key signed what no log can say: whoever holds it signs other things than this library": "此密钥签过日志不可能有的内容: 持有者还用它签别的东西",
			"the checkpoint is signed by a key that the log itself revokes":                              "检查点由日志自身已吊销的密钥签名",
			"the entries do not give the signed root":                                                    "条目算不出所签名的根哈希",
			"the entries cannot be read":                                                                 "条目无法读取",
			"neither entries nor their hashes can be read; the rest was not checked":                     "条目及其哈希均无法读取,其余部分未检查",
			"the bundle ends too early":                                                                  "条目文件过早结束",
			"bytes after the last entry":                                                                 "最后一条之后还有多余内容",
			"the entry does not match its hash":                                                          "条目与其哈希不符",
			"the entry is no leaf":                                                                       "条目格式不对",
			"the beat was made after":                                                                    "锚点条目的位置与其所述不符",
			"the hash tile is missing":                                                                   "哈希文件缺失",
			"the hash tile cannot be read":                                                               "哈希文件无法读取",
			"the hash tile does not match the entries":                                                   "哈希文件与条目不符",
		},
	}
}

// print says what was found, the verdict first.
func (w *words) print(out io.Writer, r *auditlog.Report) {
	line := func(name, text string) { fmt.Fprintf(out, "%s: %s\n", name, text) }
	line(w.verdict, w.verdicts[r.Verdict])
	line(w.log, printable(r.Origin))
	line(w.entries, fmt.Sprintf(w.verified, r.Size, r.Verified))
	if r.Beats > 0 {
		line(w.entries, fmt.Sprintf(w.anchors, r.Beats))
	}
	if r.Pruned > 0 {
		line(w.entries, fmt.Sprintf(w.pruned, r.Pruned))
	}
	line(w.root, hex.EncodeToString(r.Root[:]))
	if r.KeptSize > 0 {
		line(w.kept, fmt.Sprintf(w.keptSize, r.KeptSize))
	} else {
		line(w.kept, w.noKept)
	}
	for _, k := range r.Keys {
		word := w.rotated
		if k.Revoked {
			word = w.revoked
		}
		line(w.keys, fmt.Sprintf(w.entry, k.Index)+": "+printable(k.Key)+" "+word)
	}
	for _, f := range r.Faults {
		line(w.faults, w.fault(f))
	}
	if r.More > 0 {
		line(w.faults, fmt.Sprintf(w.more, r.More))
	}
}

func (w *words) fault(f auditlog.Fault) string {
	parts := []string{string(f.Verdict)}
	if f.Index >= 0 {
		parts = append(parts, fmt.Sprintf(w.entry, f.Index))
	}
	if f.File != "" {
		parts = append(parts, printable(f.File))
	}
	return strings.Join(append(parts, printable(w.translate(f.What))), ": ")
}

// translate finds the words for a fault. What it does not know stays as it is;
// what goes on behind a known beginning goes on as it is.
func (w *words) translate(what string) string {
	if text, ok := w.what[what]; ok {
		return text
	}
	for english, text := range w.what {
		if rest, ok := strings.CutPrefix(what, english); ok {
			return text + " (" + strings.Trim(rest, ": ") + ")"
		}
	}
	return what
}

// printable quotes what could do something to a terminal: names and keys come
// from whoever made the log.
func printable(text string) string {
	if strings.ContainsFunc(text, func(r rune) bool { return !unicode.IsPrint(r) || r == unicode.ReplacementChar }) {
		return strconv.QuoteToASCII(text)
	}
	return text
}
