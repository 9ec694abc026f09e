package main

import (
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/slack-go/slack"
)

// Slack's limits, in characters, with what we leave free below them.
const (
	maxSection  = 2900 // of 3000
	maxHeader   = 150
	maxLabel    = 1900 // of 2000: a topic's whole name
	maxFallback = 2900 // of 4000, which Slack cuts
	maxMeta     = 3000
)

var escaper = strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;")

// escape takes the meaning from what Slack would read as mark-up: names of other people's topics and their reasons are in it.
func escape(s string) string { return escaper.Replace(s) }

// clip cuts at n characters, and says so.
func clip(s string, n int) string {
	if utf8.RuneCountInString(s) <= n {
		return s
	}
	return string([]rune(s)[:n-1]) + "…"
}

// safe is escape within n characters, never cut inside of an escape.
func safe(s string, n int) string {
	if e := escape(s); utf8.RuneCountInString(e) <= n {
		return e
	}
	var out strings.Builder
	left := n - 1
	for _, r := range s {
		e := escape(string(r))
		if left -= utf8.RuneCountInString(e); left < 0 {
			break
		}
		out.WriteString(e)
	}
	return out.String() + "…"
}

func plain(s string) *slack.TextBlockObject {
	return slack.NewTextBlockObject(slack.PlainTextType, s, false, false)
}

// section is mark-up, which its caller has escaped.
func section(s string) slack.Block {
	return slack.NewSectionBlock(slack.NewTextBlockObject(slack.MarkdownType, clip(s, maxSection), false, true), nil, nil)
}

func header(s string) slack.Block { return slack.NewHeaderBlock(plain(clip(s, maxHeader))) }

func small(s string) slack.Block {
	return slack.NewContextBlock("", slack.NewTextBlockObject(slack.MarkdownType, clip(s, maxSection), false, true))
}

// table is rows of equal width, the longest first columns cut, within a section; what does not fit is counted.
func table(rows []string, what string) slack.Block {
	const most = maxSection - 80
	out, n := "", 0
	for _, r := range rows {
		line := escape(strings.ReplaceAll(r, "`", "'")) + "\n"
		if utf8.RuneCountInString(out)+utf8.RuneCountInString(line) > most {
			break
		}
		out += line
		n++
	}
	if left := len(rows) - n; left > 0 {
		out += fmt.Sprintf("… and %d %s more\n", left, what)
	}
	return section("```" + strings.TrimRight(out, "\n") + "```")
}

// clock is a time of day, which people compare with their own.
func clock(t time.Time) string { return t.UTC().Format("15:04:05Z") }

// date lets Slack show a time in the reader's zone.
func date(t time.Time) string {
	return fmt.Sprintf("<!date^%d^{time_secs}|%s>", t.Unix(), clock(t))
}
