package plan

import (
	"net/url"
	"slices"
	"strings"
)

func (c *checker) probes(p Plan) {
	seen := map[string]bool{}
	for _, o := range p.Probes {
		key := "probes[" + o.Name + "]"
		if !plainName.MatchString(o.Name) || seen[o.Name] {
			c.bad(key+".name", o.Name, "name each probe once, with letters, digits, dot, dash or underscore: the approval names it")
		}
		seen[o.Name] = true
		if !slices.ContainsFunc(p.Sites, func(s Site) bool { return s.Name == o.Site }) {
			c.bad(key+".site", o.Site, "name the site that the probe looks at")
		}
		u, err := url.Parse(o.URL)
		if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
			c.bad(key+".url", o.URL, "give a blackbox exporter's address, as in http://probe.example:9115/probe?module=tcp_connect&target=b1.%s.example:9092", o.Site)
		} else if u.User != nil {
			c.bad(key+".url", "", "a URL holds no password: it is part of the plan that everybody reads")
		}
	}
}

func (c *checker) pipelines(p Plan) {
	seen := map[string]bool{}
	for _, l := range p.Pipelines {
		key := "pipelines[" + l.Group + "]"
		if seen[l.Group] {
			c.bad(key+".group", l.Group, "name each group's pipeline once, with all its inputs and outputs")
		}
		seen[l.Group] = true
		if !slices.ContainsFunc(p.Groups, func(g Group) bool { return g.Name == l.Group }) {
			c.bad(key+".group", l.Group, "name a group of groups: its offsets are what is placed")
		}
		for part, list := range map[string][]string{"inputs": l.Inputs, "outputs": l.Outputs} {
			if len(list) == 0 {
				c.bad(key+"."+part, "", "name at least one topic")
			}
			for _, t := range list {
				if !topicName.MatchString(t) || strings.HasPrefix(t, "^") {
					c.bad(key+"."+part, t, "name topics one by one, no patterns: where a group goes on depends on each")
				}
			}
		}
		if l.MarginSeconds < 1 || l.MarginSeconds > 7*24*3600 {
			c.bad(key+".margin_seconds", l.MarginSeconds, "write a whole number from 1 to %d", 7*24*3600)
		}
	}
}
