package activities

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/drawbridge-dr/drawbridge/test/local"
	"github.com/drawbridge-dr/drawbridge/workflows"
	"github.com/drawbridge-dr/drawbridge/workflows/runbook"
)

// guardedConsul refuses whatever a token was not allowed, and holds a record of pair orders.
func guardedConsul(t *testing.T) *local.Consul {
	t.Helper()
	c := local.ConsulForTest(t, local.ConsulConfig{Name: "east", Management: "0b5d2c6e-3f1a-4a52-8a75-8d1f5a8e2c11"})
	all := keeper(t, c, "first", `key_prefix "" { policy = "write" }`)
	if _, err := newActivities(t, Options{}).WriteRecord(t.Context(), write(all, aRecord(7, "setup-1", "east"), "")); err != nil {
		t.Fatal(err)
	}
	return c
}

// keeper is the site with a token that may what rules say.
func keeper(t *testing.T, c *local.Consul, name, rules string) runbook.Site {
	t.Helper()
	token, err := c.Token(t.Context(), name, rules)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(file, []byte(token), 0o600); err != nil {
		t.Fatal(err)
	}
	return runbook.Site{Name: "east", Consul: runbook.Consul{Address: c.Address(), TokenFile: file}}
}

// A token that may only read is found out on a calm day, not by the run that needs to write.
func TestAConsulTokenThatMayNotWriteIsFoundBeforeARunNeedsIt(t *testing.T) {
	c := guardedConsul(t)
	rule := func(kind, key string) string {
		return fmt.Sprintf("%s %q { policy = %q }\n", kind, "drawbridge/orders/"+key, "write")
	}
	read := `key_prefix "drawbridge/orders/" { policy = "read" }` + "\n"
	record := rule("key", "active") + rule("key", "bootstrap") + rule("key", "security")
	for name, tc := range map[string]struct {
		rules string
		lacks []string // a key each; "!": nothing can move without
	}{
		"all":           {read + record + rule("key_prefix", "retention/"), nil},
		"no retention":  {read + record, []string{"retention/"}},
		"no plain keys": {read + rule("key", "active") + rule("key_prefix", "retention/"), []string{"!bootstrap", "!security"}},
		"reads only":    {read, []string{"!active", "!bootstrap", "!security", "retention/"}},
	} {
		a := newActivities(t, Options{})
		var out workflows.CheckPrivilegesResult
		site := keeper(t, c, strings.ReplaceAll(name, " ", "-"), tc.rules)
		before, err := a.read(t.Context(), "orders", site)
		if err != nil {
			t.Fatal(err)
		}
		check{a: a, site: site, out: &out}.consul(t.Context(), "orders", []runbook.Site{{Name: "east"}, {Name: "west"}})
		var lacks []string
		for _, f := range out.Findings {
			text := strings.TrimPrefix(f.Cure, `allow the token: key`)
			text = strings.TrimPrefix(text, `_prefix`)
			key, _, _ := strings.Cut(strings.TrimPrefix(text, ` "drawbridge/orders/`), `"`)
			lacks = append(lacks, map[bool]string{true: "!"}[f.Blocker]+key)
			if !strings.Contains(f.What, "drawbridge/orders/"+key) || f.Site != "east" {
				t.Errorf("%s: finding %+v", name, f)
			}
		}
		slices.Sort(lacks)
		if d := cmp.Diff(tc.lacks, lacks); d != "" {
			t.Errorf("%s (-want +got)\n%s\n%+v", name, d, out.Findings)
		}
		if after, err := a.read(t.Context(), "orders", site); err != nil || after.index != before.index || after.record.SHA256 != before.record.SHA256 || len(after.retention) > 0 {
			t.Errorf("%s: the look changed something: %+v, %v", name, after, err)
		}
	}
}
