package plan

import (
	"fmt"
	"regexp"
	"slices"
)

// Bot signs on behalf of people of the plan who have a slack_id, whom it knows by what Slack says of them. It stands for all of
// them: whoever has its key may say anything in their names but break the glass, which takes a person's own key.
type Bot struct {
	// Name is the signer's in reports, default drbot; PublicKey is of its own key (drctl key).
	Name      string `json:"name"`
	PublicKey string `json:"public_key"`
	// Channel of the pair's threads, by its id (C…, G…).
	Channel string `json:"channel"`
}

// byOwnKey are decisions that nobody says on another's behalf.
var byOwnKey = []string{"break-glass"}

// speaksFor checks that b may sign a for who. b may be nil.
func (b *Bot) speaksFor(who Person, a Approval) error {
	switch {
	case b == nil || b.Name != a.Via:
		return fmt.Errorf("%w: the plan has no bot called %q", ErrSignature, a.Via)
	case who.SlackID == "":
		return fmt.Errorf("%w: %s has no slack_id in the plan, so that %s cannot speak for them", ErrSignature, who.Name, b.Name)
	case slices.Contains(byOwnKey, a.Decision):
		return fmt.Errorf("%w: %s is not said on another's behalf: %s signs it with their own key (drctl %s)", ErrSignature, a.Decision, who.Name, a.Decision)
	}
	return nil
}

var (
	slackUser    = regexp.MustCompile(`^[UW][A-Z0-9]{1,20}$`)
	slackChannel = regexp.MustCompile(`^[CG][A-Z0-9]{1,20}$`)
)

func (c *checker) bot(p Plan) {
	ids := map[string]string{}
	for _, who := range p.People {
		if who.SlackID == "" {
			continue
		}
		key := "people[" + who.Name + "].slack_id"
		if !slackUser.MatchString(who.SlackID) {
			c.bad(key, who.SlackID, "write the member id of the Slack profile (U… or W…), not a name")
		}
		if other := ids[who.SlackID]; other != "" {
			c.bad(key, who.SlackID, "%s has the same: one Slack user is one person", other)
		}
		ids[who.SlackID] = who.Name
	}
	if p.Bot == nil {
		return
	}
	if !plainName.MatchString(p.Bot.Name) || slices.ContainsFunc(p.People, func(who Person) bool { return who.Name == p.Bot.Name }) {
		c.bad("bot.name", p.Bot.Name, "name the bot, not as one of the people")
	}
	if _, err := ParsePublic(p.Bot.PublicKey); err != nil {
		c.bad("bot.public_key", p.Bot.PublicKey, "%v: make one with drctl key", err)
	}
	for _, who := range p.People {
		if who.PublicKey == p.Bot.PublicKey {
			c.bad("bot.public_key", p.Bot.PublicKey, "it is the key of %s too: give the bot one of its own", who.Name)
		}
	}
	if !slackChannel.MatchString(p.Bot.Channel) {
		c.bad("bot.channel", p.Bot.Channel, "write the channel's id (C… or G…; it stands below the channel's description)")
	}
	if s := p.Notify.Slack; s != nil && s.Channel != "" && s.Channel == p.Bot.Channel {
		c.bad("notify.slack.channel", s.Channel, "the bot's threads are there, and a run would have two: give the worker's notifications another channel")
	}
	if len(ids) == 0 {
		c.bad("bot", p.Bot.Name, "nobody of the plan has a slack_id, so that it can speak for nobody: give people theirs, or leave the bot out")
	}
}
