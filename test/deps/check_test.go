package deps

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// unruled folders hold tests and tools: they may import anything, and nothing may import them.
var unruled = []string{"test", "tools"}

// check returns one sentence per fault.
func check(g graph, rules []rule) []string {
	var faults []string
	seen := map[string]bool{} // rooms that a package was found for
	for _, path := range slices.Sorted(maps.Keys(g)) {
		name, ours := strings.CutPrefix(path, module+"/")
		if !ours || slices.ContainsFunc(unruled, func(dir string) bool { return under(name, dir) }) {
			continue
		}
		r, ok := ruleOf(name, rules)
		if !ok {
			faults = append(faults, name+": has no rule: add one to rules_test.go")
			continue
		}
		seen[r.room] = true
		if r.absent != "" {
			faults = append(faults, fmt.Sprintf("%s: is marked absent (%s) but exists: write its rule", name, r.absent))
			continue
		}
		faults = append(faults, checkRoom(g, name, r)...)
	}
	for _, r := range rules {
		if !seen[r.room] && r.absent == "" {
			faults = append(faults, r.room+": has a rule but no package: was it renamed or not written? A room of a later issue is marked absent")
		}
	}
	return faults
}

// ruleOf finds the rule of a package: its own, else the longest "x/..." above it.
func ruleOf(name string, rules []rule) (best rule, ok bool) {
	for _, r := range rules {
		dir, tree := strings.CutSuffix(r.room, "/...")
		switch {
		case r.room == name:
			return r, true
		case tree && under(name, dir) && len(r.room) > len(best.room):
			best, ok = r, true
		}
	}
	return best, ok
}

func checkRoom(g graph, name string, r rule) []string {
	var faults []string
	for _, imp := range g[module+"/"+name].Imports {
		if !g[imp].Standard && !under(imp, module) && !slices.ContainsFunc(r.direct, func(lib string) bool { return under(imp, lib) }) {
			faults = append(faults, fmt.Sprintf("%s: imports %s, which its rule does not allow", name, imp))
		}
	}
	chains := reach(g, module+"/"+name)
	for _, path := range slices.Sorted(maps.Keys(chains)) {
		if other, ours := strings.CutPrefix(path, module+"/"); ours && !allowed(other, r.own) {
			faults = append(faults, fmt.Sprintf("%s: reaches %s, which its rule does not allow: %s", name, other, chains[path]))
		}
		for _, b := range r.never {
			// In the standard library a name means that package only: net/url is no socket.
			if path == b.pkg || under(path, b.pkg) && !g[path].Standard {
				faults = append(faults, fmt.Sprintf("%s: reaches %s by %s: %s", name, path, chains[path], b.reason))
			}
		}
	}
	return faults
}

func allowed(name string, own []string) bool {
	return slices.ContainsFunc(own, func(o string) bool {
		dir, tree := strings.CutSuffix(o, "/...")
		return name == o || tree && under(name, dir)
	})
}

// reach returns every package that start reaches, with a shortest chain of imports to it, written for people.
func reach(g graph, start string) map[string]string {
	chains := map[string]string{start: short(start)}
	for queue := []string{start}; len(queue) > 0; queue = queue[1:] {
		for _, imp := range g[queue[0]].Imports {
			if _, known := chains[imp]; !known {
				chains[imp] = chains[queue[0]] + " → " + short(imp)
				queue = append(queue, imp)
			}
		}
	}
	delete(chains, start)
	return chains
}

func short(path string) string { return strings.TrimPrefix(path, module+"/") }
