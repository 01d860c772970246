package main

import (
	"encoding/json"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strings"
	"time"
)

// A row of results.json is one comparison.
type row struct {
	Package string  `json:"package"`
	What    string  `json:"what"`
	Against string  `json:"against"`
	Must    string  `json:"must"`
	Ratio   float64 `json:"ratio"`
	Met     bool    `json:"met"`
}

// rows compares ours with every other contestant. Nothing is demanded yet, so
// every row is printed and met.
func rows(outcomes []outcome) []row {
	var out []row
	for _, o := range outcomes {
		for i, f := range o.Figures {
			if i == 0 {
				continue
			}
			out = append(out, row{
				Package: o.Package, What: o.What, Against: string(f.Role) + ": " + f.Name,
				Must: "printed", Ratio: math.Round(o.ratio(i)*1e4) / 1e4, Met: true,
			})
		}
	}
	return out
}

// A provenance says where and with what the figures were made.
type provenance struct {
	Date              time.Time
	CPU               string
	Cores             int
	Go, OS            string
	Rounds            int
	BenchTime, Commit string
	Modules, Programs []string
	Took              time.Duration
}

func provenanceOf(r *runner, commit string, took time.Duration) provenance {
	return provenance{
		Date: time.Now().UTC(), CPU: cpuModel(), Cores: runtime.NumCPU(),
		Go: runtime.Version(), OS: runtime.GOOS + "/" + runtime.GOARCH,
		Rounds: r.rounds, BenchTime: r.benchTime, Commit: commit,
		Modules: modules(), Programs: programs(), Took: took,
	}
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
	"github.com/go-playground/validator/v10": true, "github.com/klauspost/compress": true,
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

func writeResults(dir string, outcomes []outcome, p provenance) error {
	text, err := json.MarshalIndent(rows(outcomes), "", "  ")
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, "results.json"), append(text, '\n'), 0o644); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, "RESULTS.md"), []byte(markdown(outcomes, p)), 0o644)
}

func markdown(outcomes []outcome, p provenance) string {
	var b strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	line("# crmguard beside others")
	line("")
	line("Written by `examples/peers/run`; do not edit. All contestants of a table ran in one process, taken in turns over %d rounds (a round: %s, or the count given with the table). A figure is the median of the rounds, in brackets the fastest and the slowest. `ours / this` is our time as a part of theirs: below 1 we are faster. Before the first and after the last round all contestants of a table gave the same answer. Nothing is demanded yet: each ratio is printed as it came.", p.Rounds, p.BenchTime)
	line("")
	line("**Two shared cores: a time may be off by 25 %% either way, so a ratio between 0.8 and 1.25 says nothing.** Allocations are steadier: exact where the work is small. *Floor* is the same work with nothing promised; it is there to show the distance, not to be beaten.")
	line("")
	line("- date: %s, commit %s, whole run %s", p.Date.Format("2006-01-02"), p.Commit, p.Took.Round(time.Second))
	line("- machine: %s, %d cores, %s, %s", p.CPU, p.Cores, p.OS, p.Go)
	for _, text := range append(p.Modules, p.Programs...) {
		line("- %s", text)
	}
	room := ""
	for _, o := range outcomes {
		if o.Package != room {
			room = o.Package
			line("\n## %s", room)
		}
		line("\n### %s", o.What)
		line("")
		if o.Note != "" {
			line("%s", o.Note)
			line("")
		}
		if o.BenchTime != "" {
			line("A round: %s.", o.BenchTime)
			line("")
		}
		line("| who | | time (fastest - slowest) | B | allocs | ours / this |")
		line("|---|---|---|---|---|---|")
		for i, f := range o.Figures {
			ratio := "**1**"
			if i > 0 {
				ratio = number(o.ratio(i))
			}
			line("| %s | %s | %s (%s - %s) | %.0f | %.0f | %s |", f.Name, f.Role, duration(f.Nanos), duration(f.Fastest), duration(f.Slowest), f.Bytes, f.Allocs, ratio)
		}
	}
	return b.String()
}
