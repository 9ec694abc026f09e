package link

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/drawbridge-dr/drawbridge/mirrorengine/api"
)

// aclFacts are what one round of ACL sync knows before it decides.
type aclFacts struct {
	// source and here are all entries of both clusters, ours those here that the
	// sync made itself.
	source, here []api.ACLEntry
	ours         []api.ACLEntry
	filters      ACLFilters
	// protected are principals whose entries are left alone, and why.
	protected map[string]string
	// fenced are the entries of the fence registers, of either cluster.
	fenced map[api.ACLEntry]bool
	// follows and ended are the link's mirror topics: those that follow their
	// source, and those that are, or are about to be, ordinary topics.
	follows, ended []string
	access         accessFacts
	principal      string // the engine's own here, empty if it does not know it
	stateTopic     string
}

// aclPlan is what a round would do. No list has an entry twice.
type aclPlan struct {
	add, remove []api.ACLChange
	// forget are ours that stand no more: only their records go.
	forget             []api.ACLEntry
	protected, skipped []api.ACLChange
	// refused are those of skipped that somebody has to do something about.
	refused []api.ACLChange
	inStep  int
}

// planACLs decides; it asks nobody. Entries are taken as they are: same principal,
// host and resource.
func planACLs(f aclFacts) aclPlan {
	var p aclPlan
	src, here, ours := set(f.source), set(f.here), set(f.ours)
	there, local := newACLIndex(f.source), newACLIndex(f.here)
	for _, e := range ordered(f.source) {
		if !f.filters.Match(e) {
			continue
		}
		if here[e] {
			p.inStep++
			continue
		}
		if why := f.protects(e); why != "" {
			p.protected = append(p.protected, api.ACLChange{ACLEntry: e, At: api.ACLAtSource, Reason: why})
			continue
		}
		if why := f.holds(e); why != "" {
			p.skipped = append(p.skipped, api.ACLChange{ACLEntry: e, At: api.ACLAtSource, Reason: why})
			continue
		}
		warning, refusal := f.shutsOut(e, there, local)
		if refusal != "" {
			p.refuse(api.ACLChange{ACLEntry: e, At: api.ACLAtSource, Reason: refusal})
			continue
		}
		p.add = append(p.add, api.ACLChange{ACLEntry: e, At: api.ACLAtSource, Reason: warning})
	}
	for _, e := range ordered(f.ours) {
		if src[e] {
			continue
		}
		skip := func(why string) {
			p.skipped = append(p.skipped, api.ACLChange{ACLEntry: e, At: api.ACLAtDestination, Reason: why})
		}
		switch {
		case !here[e]:
			p.forget = append(p.forget, e)
		case !f.filters.Match(e):
			skip("made by the sync; no filter chooses it any more, so it stays")
		case f.protects(e) != "":
			p.protected = append(p.protected, api.ACLChange{ACLEntry: e, At: api.ACLAtDestination, Reason: f.protects(e)})
		case f.holds(e) != "":
			skip(f.holds(e))
		case f.access.allowEveryone && local.last(e, ours, src):
			skip("it is the last entry of its resource, and with allow.everyone.if.no.acl.found everybody would get in without it; delete it by hand if that is meant")
		default:
			p.remove = append(p.remove, api.ACLChange{ACLEntry: e, At: api.ACLAtDestination})
		}
	}
	for _, e := range ordered(f.here) {
		if src[e] || ours[e] || !f.filters.Match(e) {
			continue
		}
		if why := f.protects(e); why != "" {
			p.protected = append(p.protected, api.ACLChange{ACLEntry: e, At: api.ACLAtDestination, Reason: why})
			continue
		}
		p.skipped = append(p.skipped, api.ACLChange{ACLEntry: e, At: api.ACLAtDestination, Reason: "not at the source, and not made by this sync: left alone; delete it by hand if it was revoked there"})
	}
	return p
}

func (p *aclPlan) refuse(c api.ACLChange) {
	p.refused = append(p.refused, c)
	p.skipped = append(p.skipped, c)
}

// protects tells why an entry is never touched, neither copied nor deleted.
func (f aclFacts) protects(e api.ACLEntry) string {
	if fenceShaped(e) {
		return "has the shape of a fence or a guard (DENY of one operation on one name, from any host), which concern their own cluster; make it by hand if it is yours"
	}
	if f.fenced[e] {
		return "stands in a fence register: it comes and goes with its operation"
	}
	return f.protected[e.Principal]
}

// fenceShaped: fences and guards are DENY WRITE on one topic and DENY READ on one
// group. Entries carry no tag, and those of the source stand in another engine's
// register; copied to the standby they would shut the clients out of it.
func fenceShaped(e api.ACLEntry) bool {
	return e.Permission == deny && e.PatternType == patternPlain && e.Host == anyHost &&
		(e.ResourceType == resourceTopic && e.Operation == opWrite || e.ResourceType == resourceGroup && e.Operation == opRead)
}

// holds tells why an entry is left as it is while the direction is not, or not
// wholly, from the source to here. Topics go their own ways; what no mirror of
// the link covers (groups, transactional ids, the cluster, other topics) follows
// the source until the first mirror is ended, since from then on operators may
// change it here.
func (f aclFacts) holds(e api.ACLEntry) string {
	if len(f.follows) == 0 {
		if len(f.ended) == 0 {
			return "the link has no mirror topic yet, so that nothing says that its source is the active side"
		}
		return "all mirror topics of the link have ended: this side is active"
	}
	if e.ResourceType == resourceTopic {
		if i := slices.IndexFunc(f.ended, func(t string) bool { return covers(e, t) }); i >= 0 {
			return fmt.Sprintf("mirror topic %s has ended: its entries are this side's own", f.ended[i])
		}
		if slices.ContainsFunc(f.follows, func(t string) bool { return covers(e, t) }) {
			return ""
		}
	}
	if len(f.ended) > 0 {
		return fmt.Sprintf("mirror topic %s has ended: entries that belong to no mirror that follows its source are this side's own from then on", f.ended[0])
	}
	return ""
}

// shutsOut tells what a new entry would do to others: a warning, or why it must
// not be made.
func (f aclFacts) shutsOut(e api.ACLEntry, there, local aclIndex) (warning, refusal string) {
	if !f.access.superUser {
		if e.Permission == deny && e.Principal == everybody {
			return "", "a DENY for everybody binds this engine too, which is no super user; make it one, or deny principals one by one"
		}
		if e.Principal == everybody && e.ResourceType == resourceTopic && grantsWrite(e) && slices.ContainsFunc(f.follows, func(t string) bool { return covers(e, t) }) {
			return "", "everybody could write into the mirror topic: its guard would have to deny everybody, and so this engine, which is no super user; make it one, or allow writers one by one"
		}
	}
	if !f.access.allowEveryone || local.spoken(e) {
		return "", ""
	}
	// Where allow.everyone.if.no.acl.found is true the first entry of a resource
	// shuts out everybody whom no entry lets in.
	if !f.access.superUser {
		if name := f.engineNeeds(e); name != "" && !local.allows(f.principal, e.ResourceType, name) {
			return "", fmt.Sprintf("it would be the first entry of its resource, and with allow.everyone.if.no.acl.found shut out this engine; first allow %s ALL on %s %s", f.principal, e.ResourceType, name)
		}
	}
	var left []string
	for _, x := range there.of(e) {
		if x.Permission == allow && !f.filters.Match(x) && !slices.Contains(left, x.Principal) {
			left = append(left, x.Principal)
		}
	}
	if len(left) > 0 {
		return "", fmt.Sprintf("it would be the first entry of its resource, and with allow.everyone.if.no.acl.found shut out %s, whom the source allows in and no filter chooses; widen acl.filters", strings.Join(left, ", "))
	}
	return "the first entry of its resource: with allow.everyone.if.no.acl.found it shuts out whoever has none", ""
}

// engineNeeds is what of an entry's resource this engine itself works with.
func (f aclFacts) engineNeeds(e api.ACLEntry) string {
	switch e.ResourceType {
	case resourceTopic:
		for _, t := range append([]string{f.stateTopic}, f.follows...) {
			if covers(e, t) {
				return t
			}
		}
		return ""
	case resourceTransactions:
		if e.ResourceName != "*" && !strings.HasPrefix(e.ResourceName, "drawbridge-") {
			return ""
		}
	}
	return e.ResourceName // a group whose offsets are synced, the cluster
}

// aclIndex finds the entries of a resource.
type aclIndex struct {
	exact map[resource][]api.ACLEntry
	wide  []resource // prefixed ones, and "*"
}

type resource struct{ kind, pattern, name string }

func resourceOf(e api.ACLEntry) resource {
	return resource{e.ResourceType, e.PatternType, e.ResourceName}
}

func newACLIndex(entries []api.ACLEntry) aclIndex {
	x := aclIndex{exact: map[resource][]api.ACLEntry{}}
	for _, e := range entries {
		r := resourceOf(e)
		if x.exact[r] == nil && (r.pattern == patternPrefix || r.name == "*") {
			x.wide = append(x.wide, r)
		}
		x.exact[r] = append(x.exact[r], e)
	}
	return x
}

// of are the entries of the very same resource pattern.
func (x aclIndex) of(e api.ACLEntry) []api.ACLEntry { return x.exact[resourceOf(e)] }

// spoken tells whether an entry covers all that e's resource pattern names.
func (x aclIndex) spoken(e api.ACLEntry) bool {
	if len(x.of(e)) > 0 {
		return true
	}
	return slices.ContainsFunc(x.wide, func(r resource) bool {
		return r.kind == e.ResourceType && (r.name == "*" && r.pattern == patternPlain ||
			r.pattern == patternPrefix && strings.HasPrefix(e.ResourceName, r.name) && e.ResourceName != "*")
	})
}

// allows tells whether a principal has an ALLOW ALL on a name.
func (x aclIndex) allows(principal, kind, name string) bool {
	granted := func(r resource) bool {
		return slices.ContainsFunc(x.exact[r], func(e api.ACLEntry) bool {
			return e.Principal == principal && e.Permission == allow && e.Operation == opAll && covers(e, name)
		})
	}
	if granted(resource{kind, patternPlain, name}) {
		return true
	}
	return slices.ContainsFunc(x.wide, func(r resource) bool { return r.kind == kind && granted(r) })
}

// last tells whether nothing speaks of e's resource once those of ours are gone
// that the source has not.
func (x aclIndex) last(e api.ACLEntry, ours, src map[api.ACLEntry]bool) bool {
	for _, o := range x.of(e) {
		if src[o] || !ours[o] {
			return false
		}
	}
	without := aclIndex{exact: map[resource][]api.ACLEntry{}, wide: slices.DeleteFunc(slices.Clone(x.wide), func(r resource) bool { return r == resourceOf(e) })}
	return !without.spoken(e)
}

func set(entries []api.ACLEntry) map[api.ACLEntry]bool {
	out := make(map[api.ACLEntry]bool, len(entries))
	for _, e := range entries {
		out[e] = true
	}
	return out
}

// ordered sorts entries for people, each once.
func ordered(entries []api.ACLEntry) []api.ACLEntry {
	byOrder := map[string]api.ACLEntry{}
	for _, e := range entries {
		byOrder[aclOrder(e)] = e
	}
	out := make([]api.ACLEntry, 0, len(byOrder))
	for _, k := range slices.Sorted(maps.Keys(byOrder)) {
		out = append(out, byOrder[k])
	}
	return out
}

func aclOrder(e api.ACLEntry) string {
	return strings.Join([]string{e.ResourceType, e.ResourceName, e.PatternType, e.Principal, e.Operation, e.Permission, e.Host}, "\x00")
}
