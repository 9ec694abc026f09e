package link

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/drawbridge-dr/drawbridge/mirrorengine/api"
)

func acls(lines ...string) []api.ACLEntry {
	var out []api.ACLEntry
	for _, l := range lines {
		out = append(out, acl(l))
	}
	return out
}

// told writes a plan as lines: verb, entry, and the reasons where asked for.
func told(p aclPlan) []string {
	var out []string
	line := func(verb string, e api.ACLEntry, reason string) {
		l := strings.Join([]string{verb, e.Permission, e.Operation, e.ResourceType, e.PatternType, e.ResourceName, e.Principal, e.Host}, " ")
		if reason != "" {
			l += " : " + reason
		}
		out = append(out, l)
	}
	for _, c := range p.add {
		line("add", c.ACLEntry, c.Reason)
	}
	for _, c := range p.remove {
		line("delete", c.ACLEntry, c.Reason)
	}
	for _, e := range p.forget {
		line("forget", e, "")
	}
	for _, c := range p.protected {
		line("protect@"+c.At, c.ACLEntry, c.Reason)
	}
	for _, c := range p.skipped {
		verb := "skip@"
		if slices.Contains(p.refused, c) {
			verb = "refuse@"
		}
		line(verb+c.At, c.ACLEntry, c.Reason)
	}
	return out
}

func TestACLPlans(t *testing.T) {
	all, err := ParseACLFilters(allACLs)
	if err != nil {
		t.Fatal(err)
	}
	groups, err := ParseACLFilters(oneACLFilter(`"resourceType":"group","patternType":"any"`, `"operation":"any","permissionType":"any"`))
	if err != nil {
		t.Fatal(err)
	}
	const (
		app    = "ALLOW READ TOPIC LITERAL orders User:app *"
		batch  = "ALLOW WRITE TOPIC PREFIXED ord User:batch 10.0.0.1"
		group  = "ALLOW READ GROUP LITERAL billing User:app *"
		other  = "ALLOW READ TOPIC LITERAL other User:app *"
		guard  = "DENY WRITE TOPIC LITERAL orders User:* *"
		fence  = "DENY READ GROUP LITERAL billing User:* *"
		engine = "ALLOW ALL TOPIC LITERAL * User:engine *"
	)
	orders := []string{"orders"}
	super := accessFacts{authorizer: true, superUser: true}
	plain := accessFacts{authorizer: true}
	open := accessFacts{authorizer: true, superUser: true, allowEveryone: true}
	for name, tc := range map[string]struct {
		f    aclFacts
		want []string // prefixes of the lines
	}{
		"adds what is missing, counts what is there": {
			aclFacts{source: acls(app, batch, group), here: acls(group), follows: orders, access: super},
			[]string{"add " + batch, "add " + app},
		},
		"deletes only what it made": {
			aclFacts{source: acls(app), here: acls(app, batch, group), ours: acls(app, batch), follows: orders, access: super},
			[]string{"delete " + batch, "skip@destination " + group + " : not at the source"},
		},
		"forgets what somebody deleted on both sides": {
			aclFacts{source: acls(group), here: acls(group), ours: acls(app), follows: orders, access: super},
			[]string{"forget " + app},
		},
		"makes again what somebody deleted here": {
			aclFacts{source: acls(app), ours: acls(app), follows: orders, access: super},
			[]string{"add " + app},
		},
		"keeps what no filter chooses any more": {
			aclFacts{source: acls(group), here: acls(app), ours: acls(app), filters: groups, follows: orders, access: super},
			[]string{"add " + group, "skip@destination " + app + " : made by the sync; no filter"},
		},
		"fences and guards are neither copied nor deleted": {
			aclFacts{source: acls(guard, fence), here: acls("DENY WRITE TOPIC LITERAL other User:app *"), follows: orders, access: super},
			[]string{"protect@source " + fence, "protect@source " + guard, "protect@destination DENY WRITE TOPIC LITERAL other"},
		},
		"other denials are copied": {
			aclFacts{source: acls("DENY WRITE TOPIC PREFIXED ord User:x *", "DENY DELETE TOPIC LITERAL orders User:* *"), follows: orders, access: super},
			[]string{"add DENY WRITE TOPIC PREFIXED ord", "add DENY DELETE TOPIC LITERAL orders"},
		},
		"whatever a fence register lists is protected": {
			aclFacts{source: acls(app), fenced: set(acls(app)), follows: orders, access: super},
			[]string{"protect@source " + app + " : stands in a fence register"},
		},
		"protected principals": {
			aclFacts{source: acls(engine), here: acls("ALLOW WRITE TOPIC LITERAL orders User:canary *"), protected: map[string]string{"User:engine": "is this engine", "User:canary": "is the canary"}, follows: orders, access: super},
			[]string{"protect@source " + engine + " : is this engine", "protect@destination ALLOW WRITE TOPIC LITERAL orders User:canary * : is the canary"},
		},
		"nothing without a mirror": {
			aclFacts{source: acls(app, group), access: super},
			[]string{"skip@source " + group + " : the link has no mirror", "skip@source " + app + " : the link has no mirror"},
		},
		"nothing once all have ended, deletions neither": {
			aclFacts{source: acls(app), here: acls(group), ours: acls(group), ended: orders, access: super},
			[]string{"skip@source " + app + " : all mirror topics of the link have ended", "skip@destination " + group + " : all mirror"},
		},
		"after the first end only what belongs to mirrors that follow": {
			aclFacts{
				source: acls(app, batch, group, other, "ALLOW READ TOPIC LITERAL nomirror User:app *"), here: acls("ALLOW WRITE TOPIC LITERAL other User:x *"),
				ours: acls("ALLOW WRITE TOPIC LITERAL other User:x *"), follows: []string{"other"}, ended: orders, access: super,
			},
			[]string{
				"add " + other, "delete ALLOW WRITE TOPIC LITERAL other User:x *",
				"skip@source " + group + " : mirror topic orders has ended", "skip@source ALLOW READ TOPIC LITERAL nomirror User:app * : mirror topic orders has ended",
				"skip@source " + batch + " : mirror topic orders has ended", "skip@source " + app + " : mirror topic orders has ended",
			},
		},
		"an engine that is no super user is not shut out": {
			aclFacts{
				source: acls("DENY READ TOPIC PREFIXED ord User:* *", "ALLOW WRITE TOPIC LITERAL orders User:* *", "ALLOW WRITE TOPIC LITERAL nomirror User:* *"),
				here:   acls(engine), principal: "User:engine", protected: map[string]string{"User:engine": "is this engine"}, follows: orders, access: plain,
			},
			[]string{
				"add ALLOW WRITE TOPIC LITERAL nomirror User:*", "protect@destination " + engine,
				"refuse@source DENY READ TOPIC PREFIXED ord User:* * : a DENY for everybody binds this engine", "refuse@source ALLOW WRITE TOPIC LITERAL orders User:* * : everybody could write",
			},
		},
		"the first entry of a resource is announced where it shuts others out": {
			aclFacts{source: acls(app, group), here: acls("ALLOW WRITE TOPIC LITERAL * User:x *"), follows: orders, access: open},
			[]string{"add " + group + " : the first entry of its resource", "add " + app, "skip@destination ALLOW WRITE TOPIC LITERAL * User:x *"},
		},
		"and not made where the filters leave others out": {
			aclFacts{
				source: acls(group, "ALLOW READ GROUP LITERAL billing User:b *"), follows: orders, access: open,
				filters: filtersFor(t, `"resourceType":"any","patternType":"any"`, `"operation":"any","permissionType":"any","principal":"User:app"`),
			},
			[]string{"refuse@source " + group + " : it would be the first entry of its resource, and with allow.everyone.if.no.acl.found shut out User:b"},
		},
		"nor where it shuts out this engine": {
			aclFacts{source: acls(app), principal: "User:engine", follows: orders, access: accessFacts{allowEveryone: true}},
			[]string{"refuse@source " + app + " : it would be the first entry of its resource, and with allow.everyone.if.no.acl.found shut out this engine; first allow User:engine ALL on TOPIC orders"},
		},
		"the last entry of a resource stays where its end lets everybody in": {
			aclFacts{source: acls(group), here: acls(group, app), ours: acls(app), follows: orders, access: open},
			[]string{"skip@destination " + app + " : it is the last entry of its resource"},
		},
		"but goes where another one covers it": {
			aclFacts{source: acls(batch), here: acls(batch, app), ours: acls(app), follows: orders, access: open},
			[]string{"delete " + app},
		},
	} {
		t.Run(name, func(t *testing.T) {
			if tc.f.filters.Empty() {
				tc.f.filters = all
			}
			got := told(planACLs(tc.f))
			if len(got) != len(tc.want) {
				t.Fatalf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(tc.want, "\n"))
			}
			for i, w := range tc.want {
				if !strings.HasPrefix(got[i], w) {
					t.Errorf("got\n%s\nwant\n%s…", got[i], w)
				}
			}
		})
	}
}

func filtersFor(t *testing.T, resource, access string) ACLFilters {
	t.Helper()
	f, err := ParseACLFilters(oneACLFilter(resource, access))
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// Whatever stands where: rounds come to an end (a first entry may let others
// follow), and no entry that the sync did not make is ever deleted.
func TestACLPlansSettleAndDeleteNothingOfOthers(t *testing.T) {
	all, err := ParseACLFilters(allACLs)
	if err != nil {
		t.Fatal(err)
	}
	seed := time.Now().UnixNano()
	t.Logf("seed %d", seed)
	for n := range 300 {
		f := randomACLs(uint64(seed), uint64(n)) //nolint:gosec // bits are bits
		f.filters = all
		first := f
		for round := 0; ; round++ {
			p := planACLs(f)
			if len(p.add)+len(p.remove)+len(p.forget) == 0 {
				break
			}
			if round == 5 {
				t.Fatalf("does not settle: facts %+v, still to do %q", first, told(p))
			}
			ours, here := set(f.ours), set(f.here)
			for _, c := range p.remove {
				if !ours[c.ACLEntry] {
					t.Fatalf("deletes %v of others; facts %+v", c, first)
				}
				delete(here, c.ACLEntry)
				delete(ours, c.ACLEntry)
			}
			for _, c := range p.add {
				if fenceShaped(c.ACLEntry) || c.Principal == "User:engine" {
					t.Fatalf("copies %v", c)
				}
				here[c.ACLEntry], ours[c.ACLEntry] = true, true
			}
			for _, e := range p.forget {
				delete(ours, e)
			}
			f.here, f.ours = keys(here), keys(ours)
		}
	}
}

func TestAPlanOfFiveThousandEntriesTakesNoTime(t *testing.T) {
	var src []api.ACLEntry
	for i := range 5000 {
		src = append(src, acl(fmt.Sprintf("ALLOW READ TOPIC LITERAL t%d User:u%d *", i, i%50)))
	}
	all, err := ParseACLFilters(allACLs)
	if err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	p := planACLs(aclFacts{source: src, filters: all, follows: []string{"t1"}, access: accessFacts{superUser: true, allowEveryone: true}})
	if took := time.Since(began); len(p.add) != 5000 || took > 30*time.Second {
		t.Errorf("%d entries in %s", len(p.add), took)
	}
}

// randomACLs makes facts over few names, so that entries meet.
func randomACLs(seed, n uint64) aclFacts {
	r := rand.New(rand.NewPCG(seed, n)) //nolint:gosec // a test's dice
	pick := func(from ...string) string { return from[r.IntN(len(from))] }
	some := func() []api.ACLEntry {
		var out []api.ACLEntry
		for range r.IntN(12) {
			out = append(out, api.ACLEntry{
				Principal: pick("User:*", "User:a", "User:engine"), Host: pick("*", "10.0.0.1"), ResourceType: pick("TOPIC", "GROUP"),
				ResourceName: pick("*", "a", "ab"), PatternType: pick("LITERAL", "PREFIXED"), Operation: pick("READ", "WRITE"), Permission: pick("ALLOW", "DENY"),
			})
		}
		return out
	}
	f := aclFacts{
		source: some(), here: some(), principal: "User:engine", protected: map[string]string{"User:engine": "is this engine"},
		access: accessFacts{superUser: r.IntN(2) == 0, allowEveryone: r.IntN(2) == 0},
	}
	for _, t := range []string{"a", "ab", "b"} {
		switch r.IntN(3) {
		case 0:
			f.follows = append(f.follows, t)
		case 1:
			f.ended = append(f.ended, t)
		}
	}
	for _, e := range f.here {
		if r.IntN(2) == 0 {
			f.ours = append(f.ours, e)
		}
	}
	return f
}

func keys(m map[api.ACLEntry]bool) []api.ACLEntry { return slices.Collect(maps.Keys(m)) }
