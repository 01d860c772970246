package main

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"time"
)

// A row of results.json is one comparison. Low and high are null where there
// are too few pairs for an interval.
type row struct {
	Package string   `json:"package"`
	What    string   `json:"what"`
	Against string   `json:"against"`
	Must    string   `json:"must"`
	Ratio   float64  `json:"ratio,omitempty"`
	Low     *float64 `json:"low"`
	High    *float64 `json:"high"`
	Met     bool     `json:"met"`
	Value   float64  `json:"value,omitempty"` // where nothing is compared
	Unit    string   `json:"unit,omitempty"`
}

// rows compares ours with every other contestant, once for each demand.
func rows(o outcome) ([]row, error) {
	var out []row
	for i, f := range o.Figures[1:] {
		against := o.Contestants[i+1]
		demands := against.Must
		if len(demands) == 0 {
			demands = []string{printed}
		}
		for _, must := range demands {
			d, err := parseDemand(must)
			if err != nil {
				return nil, fmt.Errorf("%s, %s: %s: %w", o.Package, o.What, f.Name, err)
			}
			e := estimateOf(d.ratios(o.Figures[0].Times, f.Times))
			r := row{
				Package: o.Package, What: o.What, Against: string(f.Role) + ": " + f.Name,
				Must: must, Ratio: digits(e.Median), Met: d.met(e),
			}
			if e.enough() {
				low, high := digits(e.Low), digits(e.High)
				r.Low, r.High = &low, &high
			}
			out = append(out, r)
		}
	}
	limits, err := o.limits()
	return append(out, limits...), err
}

// digits keeps six that count.
func digits(v float64) float64 {
	short, err := strconv.ParseFloat(strconv.FormatFloat(v, 'g', 6, 64), 64)
	if err != nil {
		return v
	}
	return short
}

// interval is a ratio as the tables print it.
func (r row) interval() string {
	if r.Low == nil {
		return number(r.Ratio) + " (no interval)"
	}
	return fmt.Sprintf("%s (%s - %s)", number(r.Ratio), number(*r.Low), number(*r.High))
}

func (r row) verdict() string {
	switch {
	case r.Must == printed:
		return r.Must
	case r.Met:
		return r.Must + ", met"
	default:
		return r.Must + ", **missed**"
	}
}

// A provenance says where and with what the figures were made.
type provenance struct {
	Date              time.Time
	CPU               string
	Cores             int
	Load              [2]string // before and after
	Go, OS            string
	Commit            string
	Modules, Programs []string
	Took              time.Duration
	Tick              time.Duration
}

func provenanceOf(r *runner, commit string, took time.Duration, load string) provenance {
	return provenance{
		Date: time.Now().UTC(), CPU: cpuModel(), Cores: runtime.NumCPU(), Load: [2]string{load, machineLoad()},
		Go: runtime.Version(), OS: runtime.GOOS + "/" + runtime.GOARCH, Commit: commit,
		Modules: modules(), Programs: programs(), Took: took, Tick: time.Duration(r.tick()),
	}
}

// machineLoad is how many programs wanted a core in the last minute.
func machineLoad() string {
	text, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return "unknown"
	}
	one, _, _ := strings.Cut(string(text), " ")
	return one
}

func cpuModel() string {
	text, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		return "unknown"
	}
	for line := range strings.Lines(string(text)) {
		if name, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return "unknown"
}

// contenders are the modules whose versions decide the figures.
var contenders = map[string]bool{
	"github.com/crmguard/crmguard": true, "github.com/tink-crypto/tink-go/v2": true,
	"github.com/cedar-policy/cedar-go": true, "modernc.org/sqlite": true,
	"github.com/open-policy-agent/opa": true, "github.com/casbin/casbin/v3": true,
	"github.com/go-playground/validator/v10": true, "github.com/klauspost/compress": true,
	"github.com/transparency-dev/tessera": true, "filippo.io/torchwood": true, "github.com/jackc/pgx/v5": true,
}

func modules() []string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return []string{"unknown: built without module information"}
	}
	var out []string
	for _, dep := range info.Deps {
		switch {
		case !contenders[dep.Path]:
		case dep.Replace != nil: // its place on the disk is nobody's business
			out = append(out, dep.Path+" (this checkout)")
		default:
			out = append(out, dep.Path+" "+dep.Version)
		}
	}
	return out
}

func programs() []string {
	text, err := exec.Command("restic", "version").Output()
	if err != nil {
		return []string{"restic: not installed, its contests were left out"}
	}
	return []string{strings.TrimSpace(string(text))}
}

func writeResults(dir string, r *runner, outcomes []outcome, tallies []tally, p provenance) error {
	var all []row
	for _, o := range outcomes {
		some, err := rows(o)
		if err != nil {
			return err
		}
		all = append(all, some...)
	}
	for _, t := range tallies {
		some, err := t.rows()
		if err != nil {
			return err
		}
		all = append(all, some...)
	}
	text, err := json.MarshalIndent(all, "", "  ")
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, "results.json"), append(text, '\n'), 0o644); err != nil {
		return err
	}
	words, err := markdown(r, all, outcomes, tallies, p)
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, "RESULTS.md"), []byte(words), 0o644)
}

func markdown(r *runner, all []row, outcomes []outcome, tallies []tally, p provenance) (string, error) {
	var b strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	line("# crmguard beside others")
	line("")
	line("Written by `examples/peers/run`; do not edit. Before the first and after the last round all contestants of a table gave the same answer.")
	line("")
	line("**How a ratio is made.** In one process the contestants of a table take turns, in blocks of work that are calibrated to last %s at most; where one run of anybody is longer, all go run by run. A round is one block of each, and gives a pair of times: `ours / this` is our time for one run as a part of theirs, so below 1 we are faster. Printed is the median of the pairs, %d of them, or as many as begin within %s, or what a contest says instead, where a run is longer than a block (%d at most, and a row says so where they are fewer than %d). Every second round has a random order and the next one its mirror image, so that who comes first and a machine that changes its speed cancel out.", r.block, r.pairs, seconds(r.limit), r.runs, r.wanted)
	line("")
	line("**What the brackets say.** They hold the true median in at least 95 of 100 cases, if pairs are independent of each other: an interval between two order statistics, from the binomial distribution, which assumes nothing about the shape of the noise (W. R. Thompson, Annals of Mathematical Statistics 7, 1936, pages 122-128). A demand is met only when the whole interval meets it. They speak of this machine on this day and of nothing else.")
	line("")
	line("Times are the median of all blocks, in brackets the middle half. The garbage collector stays on, and its work falls into whichever block it meets, so times lean a little towards those who allocate; run by run, it is called before each run, off the clock. B and allocs are those of the whole process, per run, from a block off the clock. Looking at the clock costs %d ns a block; blocks that do not last a hundred times as long stop the run. *Floor* is the same work with nothing promised; it is there to show the distance, not to be beaten.", p.Tick.Nanoseconds())
	line("")
	line("- date: %s, commit %s, whole run %s", p.Date.Format("2006-01-02"), p.Commit, p.Took.Round(time.Second))
	line("- machine: %s, %d cores, %s, %s", p.CPU, p.Cores, p.OS, p.Go)
	line("- load average of the last minute: %s when this run began, %s at its end", p.Load[0], p.Load[1])
	for _, text := range append(p.Modules, p.Programs...) {
		line("- %s", text)
	}
	demands(line, all)
	room := ""
	counted := func() error { // what was counted stands behind the contests of its room
		for _, t := range tallies {
			if t.Package == room {
				if err := tallyTable(line, t); err != nil {
					return err
				}
			}
		}
		return nil
	}
	for _, o := range outcomes {
		if o.Package != room {
			if err := counted(); err != nil {
				return "", err
			}
			room = o.Package
			line("\n## %s", room)
		}
		if err := table(line, r, o); err != nil {
			return "", err
		}
	}
	err := counted()
	return b.String(), err
}

// demands lists all that is demanded anywhere, so that nobody has to look for what
// was missed.
func demands(line func(format string, args ...any), all []row) {
	missed, some := 0, 0
	for _, r := range all {
		if r.Must != printed {
			some++
		}
		if !r.Met {
			missed++
		}
	}
	if some == 0 {
		return
	}
	line("\n## What is demanded")
	line("")
	line("%d demands, %d of them missed. `<=` of a ratio is our time as a part of theirs, `>=` our speed as a multiple of theirs.", some, missed)
	line("")
	line("| room | what | against | measured | demand |")
	line("|---|---|---|---|---|")
	for _, r := range all {
		if r.Must == printed {
			continue
		}
		measured := r.interval()
		if r.Unit != "" {
			measured = amount(r.Value, r.Unit)
		}
		line("| %s | %s | %s | %s | %s |", r.Package, r.What, r.Against, measured, r.verdict())
	}
}

func table(line func(format string, args ...any), r *runner, o outcome) error {
	line("\n### %s", o.What)
	line("")
	if o.Note != "" {
		line("%s", o.Note)
		line("")
	}
	line("| who | | time of a run (middle half) | runs in a block | B | allocs | ours / this (95 %%) | pairs | demand |")
	line("|---|---|---|---|---|---|---|---|---|")
	compared, err := rows(o)
	if err != nil {
		return err
	}
	pairs := strconv.Itoa(len(o.Figures[0].Times))
	if o.Short {
		pairs = fmt.Sprintf("**only %s** of the %d wanted in %s", pairs, r.wanted, seconds(r.allowed(o.contest)))
	}
	for i, f := range o.Figures {
		sorted := slices.Sorted(slices.Values(f.Times))
		who := fmt.Sprintf("| %s | %s | %s (%s - %s) | %d | %.0f | %.0f |", f.Name, f.Role,
			duration(quantile(sorted, 0.5)), duration(quantile(sorted, 0.25)), duration(quantile(sorted, 0.75)), f.Block, f.Bytes, f.Allocs)
		if i == 0 {
			line("%s **1** | | |", who)
			continue
		}
		for _, c := range compared {
			if c.Unit == "" && c.Against == string(f.Role)+": "+f.Name {
				line("%s %s | %s | %s |", who, c.interval(), pairs, c.verdict())
			}
		}
	}
	for _, c := range compared {
		if c.Unit != "" {
			line("| %s itself | ours | | | | | | | %s |", o.Figures[0].Name, c.verdict())
		}
	}
	return nil
}

func (o outcome) ratioText(i int) string {
	if i == 0 {
		return ""
	}
	e := estimateOf(demand{}.ratios(o.Figures[0].Times, o.Figures[i].Times))
	return fmt.Sprintf("ours / this = %s (%s - %s)", number(e.Median), number(e.Low), number(e.High))
}

// number prints three digits that count.
func number(v float64) string {
	switch {
	case v >= 100:
		return fmt.Sprintf("%.0f", v)
	case v >= 10:
		return fmt.Sprintf("%.1f", v)
	case v >= 0.1:
		return fmt.Sprintf("%.2f", v)
	default:
		return fmt.Sprintf("%.3g", v)
	}
}

func seconds(d time.Duration) string { return fmt.Sprintf("%.0f s", d.Seconds()) }

func duration(nanos float64) string {
	switch {
	case nanos >= 1e9:
		return number(nanos/1e9) + " s"
	case nanos >= 1e6:
		return number(nanos/1e6) + " ms"
	case nanos >= 1e3:
		return number(nanos/1e3) + " µs"
	default:
		return number(nanos) + " ns"
	}
}
