package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/drawbridge-dr/drawbridge/cmd/internal/operator"
	"github.com/drawbridge-dr/drawbridge/workflows/plan"
)

// plans is the folder of plans, read anew each time: a plan may change while the bot runs.
type plans struct{ dir string }

// planned is a plan with its hash.
type planned struct {
	plan.Plan
	hash string
}

// pairName keeps whatever somebody types from being a path.
var pairName = regexp.MustCompile(`^[a-zA-Z0-9][a-zA-Z0-9._-]{0,100}$`)

func (p *plans) load(pair string) (*planned, error) {
	if !pairName.MatchString(pair) {
		return nil, fmt.Errorf("%.40q is no name of a pair", pair)
	}
	got, err := plan.Load(p.dir, pair)
	if errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("no pair is called %s", pair)
	}
	if err != nil {
		return nil, err
	}
	hash, err := got.Hash()
	return &planned{Plan: got, hash: hash}, err
}

// served lists the plans that have a bot. Problems are those of the plans that cannot be read.
func (p *plans) served() (all []*planned, problems []error) {
	files, err := filepath.Glob(filepath.Join(p.dir, "*.yaml"))
	if err != nil {
		return nil, []error{err}
	}
	for _, f := range files {
		got, err := p.load(strings.TrimSuffix(filepath.Base(f), ".yaml"))
		switch {
		case err != nil:
			problems = append(problems, err)
		case got.Bot != nil:
			all = append(all, got)
		}
	}
	return all, problems
}

// refusal is a no that a person reads as it is.
type refusal struct{ text string }

func (r refusal) Error() string { return r.text }

func no(format string, args ...any) error { return refusal{fmt.Sprintf(format, args...)} }

// as finds who a Slack user is in a pair's plan, and signs for them. An empty pair is the only one in which the user is known.
func (b *Bot) as(user, pair string) (*planned, operator.Signer, error) {
	if pair == "" {
		all, _ := b.plans.served()
		all = slices.DeleteFunc(all, func(p *planned) bool { return p.person(user) == "" })
		if len(all) != 1 {
			names := make([]string, len(all))
			for i, p := range all {
				names[i] = p.Pair
			}
			if len(all) == 0 {
				return nil, operator.Signer{}, b.stranger(user, "any pair")
			}
			return nil, operator.Signer{}, no("Name the pair: %s.", strings.Join(names, ", "))
		}
		pair = all[0].Pair
	}
	p, err := b.plans.load(pair)
	if err != nil {
		b.log.Warn("a plan was asked for", "pair", pair, "error", err)
		return nil, operator.Signer{}, no("I cannot read a plan of pair %s here. Pairs that I serve are in my folder of plans.", clip(pair, 40))
	}
	name := p.person(user)
	switch {
	case name == "":
		return nil, operator.Signer{}, b.stranger(user, "pair "+pair)
	case p.Bot == nil:
		return nil, operator.Signer{}, no("The plan of pair %s names no bot: it is not commanded from Slack. drctl does it.", pair)
	case p.Bot.Name != b.signer.Name || p.Bot.PublicKey != b.signer.Public():
		return nil, operator.Signer{}, no("The plan of pair %s trusts the bot %q with another key than mine: nothing that I sign would count. Its owner can give it the public key of `drctl key show`.", pair, p.Bot.Name)
	}
	return p, b.signer.For(name), nil
}

func (b *Bot) stranger(user, of string) error {
	return no("Sorry, I do not know you: the plan of %s lists nobody with the Slack member id %s. Whoever owns the plan can add it as slack_id; until then drctl with your own key works.", of, user)
}

// person is the name of a Slack user, "" for a stranger.
func (p *planned) person(user string) string {
	for _, who := range p.People {
		if who.SlackID != "" && who.SlackID == user {
			return who.Name
		}
	}
	return ""
}

// mention names people, by Slack id where the plan has one; the rest by name.
func (p *planned) mention(names []string) string {
	const most = 20
	var out []string
	for i, n := range names {
		if i == most {
			out = append(out, fmt.Sprintf("and %d more", len(names)-most))
			break
		}
		text := escape(n)
		for _, who := range p.People {
			if who.Name == n && who.SlackID != "" {
				text = "<@" + who.SlackID + ">"
			}
		}
		out = append(out, text)
	}
	return strings.Join(out, " ")
}

// able are the people with one of roles (none: everybody), without the requester.
func (p *planned) able(roles []string, but string) []string {
	var out []string
	for _, who := range p.People {
		if who.Name != but && (len(roles) == 0 || slices.ContainsFunc(who.Roles, func(r string) bool { return slices.Contains(roles, r) })) {
			out = append(out, who.Name)
		}
	}
	return out
}

// ownership says who owns a topic, as runbook.Plan.OwnersOf does; it is made once for many topics.
type ownership struct {
	named    map[string][]string
	patterns []ownedPattern
}

type ownedPattern struct {
	topics *regexp.Regexp
	by     []string
}

func (p *planned) ownership() ownership {
	o := ownership{named: map[string][]string{}}
	for _, own := range p.Owners {
		for _, t := range own.Topics {
			if !strings.HasPrefix(t, "^") {
				o.named[t] = append(o.named[t], own.By...)
			} else if re, err := regexp.Compile(`^(?:` + strings.TrimPrefix(t, "^") + `)$`); err == nil { // over the whole name
				o.patterns = append(o.patterns, ownedPattern{re, own.By})
			}
		}
	}
	return o
}

// of a topic; "" if nobody owns it.
func (o ownership) of(topic string) string {
	by := slices.Clone(o.named[topic])
	for _, p := range o.patterns {
		if p.topics.MatchString(topic) {
			by = append(by, p.by...)
		}
	}
	slices.Sort(by)
	return strings.Join(slices.Compact(by), ", ")
}
