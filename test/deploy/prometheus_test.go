//go:build real

package deploy

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"

	"github.com/drawbridge-dr/drawbridge/mirrorengine"
	"github.com/drawbridge-dr/drawbridge/test/harness"
	"github.com/drawbridge-dr/drawbridge/test/local"
)

// rule is a recording or an alert rule.
type rule struct {
	Record, Alert, Expr string
	Labels, Annotations map[string]string
}

func rules(t *testing.T) (all []rule) {
	t.Helper()
	var doc struct {
		Groups []struct{ Rules []rule }
	}
	if err := yaml.Unmarshal([]byte(read(t, "prometheus", "rules.yml")), &doc); err != nil {
		t.Fatal(err)
	}
	for _, g := range doc.Groups {
		all = append(all, g.Rules...)
	}
	if len(all) == 0 {
		t.Fatal("no rules")
	}
	return all
}

func TestPrometheusTakesConfigurationAndRules(t *testing.T) {
	t.Parallel()
	good(t, local.ToolPromtool, "check", "rules", file("prometheus", "rules.yml"))
	// Its secrets are not here, so that only the form can be looked at.
	good(t, local.ToolPromtool, "check", "config", "--syntax-only", file("prometheus", "prometheus.yml"))
}

func TestEveryAlertFiresAndKeepsStill(t *testing.T) {
	t.Parallel()
	good(t, local.ToolPromtool, "test", "rules", file("prometheus", "rules_test.yml"))

	var doc struct {
		Tests []struct {
			Cases []struct {
				Expr    string
				Samples []struct{ Labels string } `yaml:"exp_samples"`
			} `yaml:"promql_expr_test"`
		}
	}
	if err := yaml.Unmarshal([]byte(read(t, "prometheus", "rules_test.yml")), &doc); err != nil {
		t.Fatal(err)
	}
	selector := regexp.MustCompile(`alertname=(~?)"([^"]*)"`)
	for _, r := range rules(t) {
		fires, still, recorded := false, false, false
		for _, test := range doc.Tests {
			for _, c := range test.Cases {
				for _, s := range c.Samples {
					fires = fires || strings.Contains(s.Labels, fmt.Sprintf(`alertname="%s", alertstate="firing", severity="%s"`, r.Alert, r.Labels["severity"]))
				}
				m := selector.FindStringSubmatch(c.Expr)
				speaks := m != nil && (m[1] == "" && m[2] == r.Alert || m[1] == "~" && regexp.MustCompile("^(?:"+m[2]+")$").MatchString(r.Alert))
				still = still || speaks && len(c.Samples) == 0
				recorded = recorded || r.Record != "" && strings.Contains(c.Expr, r.Record) && len(c.Samples) > 0
			}
		}
		// A recording that an alert is made of is tested by the alert.
		for _, other := range rules(t) {
			recorded = recorded || r.Record != "" && other.Alert != "" && strings.Contains(other.Expr, r.Record)
		}
		switch {
		case r.Record != "" && !recorded:
			t.Errorf("%s is recorded, and no test looks at it", r.Record)
		case r.Alert != "" && (!fires || !still):
			t.Errorf("alert %s: a test in which it fires with its severity: %t; one in which it does not: %t", r.Alert, fires, still)
		}
	}
}

// What somebody reads at 3 a.m. must be there, and the commands in it must exist.
func TestAlertsSayWhatToDo(t *testing.T) {
	t.Parallel()
	drctl, err := harness.Build(t.Context(), "drctl")
	if err != nil {
		t.Fatal(err)
	}
	call, template := regexp.MustCompile("`drctl ([^`]*)`"), regexp.MustCompile(`\{\{[^}]*\}\}`)
	looked := 0
	for _, r := range rules(t) {
		if r.Alert == "" {
			continue
		}
		if r.Annotations["summary"] == "" || r.Annotations["description"] == "" {
			t.Errorf("alert %s has no summary or no description", r.Alert)
		}
		for _, m := range call.FindAllStringSubmatch(r.Annotations["description"], -1) {
			var args []string
			for _, w := range strings.Fields(template.ReplaceAllString(m[1], "NAME")) {
				if strings.HasPrefix(w, "-") || w == strings.ToUpper(w) {
					continue // a flag, or what stands for a name
				}
				args = append(args, w)
			}
			out, err := command(t, drctl, append(args, "--help")...)
			if err != nil || !strings.Contains(out, "drctl "+strings.Join(args, " ")+" ") {
				t.Errorf("alert %s names `drctl %s`, which drctl does not know:\n%s", r.Alert, strings.Join(args, " "), out)
			}
			for _, flag := range regexp.MustCompile(`--[a-z-]+`).FindAllString(m[1], -1) {
				if !strings.Contains(out, flag) {
					t.Errorf("alert %s names `drctl %s %s`, which has no such flag", r.Alert, strings.Join(args, " "), flag)
				}
			}
			looked++
		}
	}
	if looked == 0 {
		t.Error("no alert names a command: the test does not find them any more")
	}
}

func TestTheNumberOfShardsIsTheEngines(t *testing.T) {
	t.Parallel()
	want := fmt.Sprintf("sum by (site) (drawbridge_shards_owned) < %d", mirrorengine.Default().State.Shards)
	for _, r := range rules(t) {
		if r.Alert == "DrawbridgeShardsUnowned" && r.Expr != want {
			t.Errorf("it says %s, with the engine's default it is %s", r.Expr, want)
		}
	}
}

// ---- dashboard

// panel is what a dashboard asks Prometheus for.
type panel struct {
	ID      int
	Type    string
	Title   string
	Targets []struct{ Expr string }
	GridPos struct{ X, Y, W, H int }
}

// dashboard has the panels, and the queries of its variables and annotations.
func dashboard(t *testing.T) (panels []panel, exprs []string) {
	t.Helper()
	var doc struct {
		Panels     []panel
		Templating struct {
			List []struct {
				Name, Type string
				Query      any
			}
		}
		Annotations struct{ List []struct{ Expr string } }
	}
	dec := json.NewDecoder(strings.NewReader(read(t, "grafana", "drawbridge.json")))
	if err := dec.Decode(&doc); err != nil {
		t.Fatal(err)
	}
	for _, p := range doc.Panels {
		for _, target := range p.Targets {
			exprs = append(exprs, target.Expr)
		}
	}
	variable := regexp.MustCompile(`^label_values\((.*), [a-z]+\)$`)
	for _, v := range doc.Templating.List {
		if q, ok := v.Query.(map[string]any); ok {
			m := variable.FindStringSubmatch(fmt.Sprint(q["query"]))
			if m == nil {
				t.Errorf("variable %s asks %v", v.Name, q["query"])
				continue
			}
			exprs = append(exprs, m[1])
		}
	}
	for _, a := range doc.Annotations.List {
		exprs = append(exprs, a.Expr)
	}
	return doc.Panels, exprs
}

// promtool reads rules only: so each query is made one.
func TestPrometheusTakesTheDashboardsQueries(t *testing.T) {
	t.Parallel()
	_, exprs := dashboard(t)
	type record struct {
		Record string `yaml:"record"`
		Expr   string `yaml:"expr"`
	}
	var recorded []record
	for i, expr := range exprs {
		recorded = append(recorded, record{fmt.Sprintf("dashboard:query:%d", i), expr})
	}
	text, err := yaml.Marshal(map[string]any{"groups": []any{map[string]any{"name": "dashboard", "rules": recorded}}})
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "dashboard.yml")
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
	good(t, local.ToolPromtool, "check", "rules", path)
}

func TestTheDashboardsPanelsHaveAPlaceOfTheirOwn(t *testing.T) {
	t.Parallel()
	panels, _ := dashboard(t)
	ids := map[int]string{}
	for i, p := range panels {
		if other, taken := ids[p.ID]; taken {
			t.Errorf("panels %q and %q have the id %d", p.Title, other, p.ID)
		}
		ids[p.ID] = p.Title
		if p.Type != "row" && len(p.Targets) == 0 {
			t.Errorf("panel %q asks nothing", p.Title)
		}
		g := p.GridPos
		if g.X < 0 || g.W < 1 || g.H < 1 || g.X+g.W > 24 {
			t.Errorf("panel %q lies outside of the 24 columns: %+v", p.Title, g)
		}
		for _, o := range panels[:i] {
			if q := o.GridPos; g.X < q.X+q.W && q.X < g.X+g.W && g.Y < q.Y+q.H && q.Y < g.Y+g.H {
				t.Errorf("panels %q and %q lie on each other", p.Title, o.Title)
			}
		}
	}
}
