package link

import (
	"errors"
	"fmt"
	"strings"

	"github.com/drawbridge-dr/drawbridge/mirrorengine/secret"
)

// jaas is a login line of Kafka's sasl.jaas.config:
//
//	org.apache.…PlainLoginModule required username="u" password='p';
//
// Values may contain secret references; they are resolved after the line was
// taken apart, so that a quote inside of a password cannot break it.
type jaas struct {
	module  string // the class's bare name
	options map[string]string
}

// wants are the options that a module cannot do without; the last one is secret.
func (j jaas) wants() []string {
	if j.module == moduleOAuth {
		return []string{"clientId", "clientSecret"}
	}
	return []string{"username", "password"}
}

// Login modules, by the bare name of their class.
const (
	modulePlain = "PlainLoginModule"
	moduleSCRAM = "ScramLoginModule"
	moduleOAuth = "OAuthBearerLoginModule"
)

// inline tells whether the secret stands in the line itself.
func (j jaas) inline() bool { return !secret.Referenced(j.options[j.wants()[1]]) }

// parseJAAS reads a login line. Its errors quote none of it but option names.
func parseJAAS(text string) (jaas, error) {
	// Confluent's own examples carry the key in front of the value.
	text = strings.TrimSpace(strings.TrimPrefix(strings.TrimSpace(text), keyJAAS+"="))
	class, rest := cutWord(text)
	j := jaas{module: class[strings.LastIndexByte(class, '.')+1:], options: map[string]string{}}
	switch j.module {
	case modulePlain, moduleSCRAM, moduleOAuth:
	default:
		return j, errors.New("does not begin with a login module that this engine knows; write org.apache.kafka.common.security.plain.PlainLoginModule, …scram.ScramLoginModule or …oauthbearer.OAuthBearerLoginModule")
	}
	control, rest := cutWord(rest)
	switch strings.ToLower(control) {
	case "required", "requisite", "sufficient", "optional":
	default:
		return j, errors.New("the word behind the login module must be 'required'")
	}
	if err := j.readOptions(rest); err != nil {
		return j, err
	}
	for _, name := range j.wants() {
		if j.options[name] == "" {
			return j, fmt.Errorf("option %s is missing or empty", name)
		}
		if err := secret.Check(j.options[name]); err != nil {
			return j, fmt.Errorf("option %s: %w", name, err)
		}
	}
	return j, nil
}

// cutWord takes the first word off.
func cutWord(text string) (word, rest string) {
	text = strings.TrimSpace(text)
	if i := strings.IndexAny(text, " \t\r\n"); i >= 0 {
		return text[:i], text[i:]
	}
	return text, ""
}

// readOptions reads name=value pairs up to the semicolon.
func (j jaas) readOptions(text string) error {
	for {
		text = strings.TrimSpace(text)
		if text == ";" {
			return nil
		}
		if text == "" {
			return errors.New("the line does not end with a semicolon")
		}
		if text[0] == ';' {
			return errors.New("text behind the semicolon; one login module is wanted")
		}
		name, rest, found := strings.Cut(text, "=")
		name = strings.TrimSpace(name)
		if !found || !optionName(name) {
			return errors.New("options are written name=\"value\"")
		}
		if _, twice := j.options[name]; twice {
			return fmt.Errorf("option %s stands twice", name)
		}
		value, after, err := readValue(strings.TrimSpace(rest))
		if err != nil {
			return fmt.Errorf("option %s: %w", name, err)
		}
		j.options[name] = value
		text = after
	}
}

// readValue reads a quoted value, in which a backslash takes the next
// character as it is, or a bare one that ends at a space or semicolon.
func readValue(text string) (value, rest string, err error) {
	if text == "" {
		return "", "", errors.New("has no value")
	}
	quote := text[0]
	if quote != '"' && quote != '\'' {
		end := strings.IndexAny(text, " \t\r\n;")
		if end < 0 {
			end = len(text)
		}
		return text[:end], text[end:], nil
	}
	var b strings.Builder
	for i := 1; i < len(text); i++ {
		switch c := text[i]; {
		case c == quote:
			return b.String(), text[i+1:], nil
		case c == '\\' && i+1 < len(text):
			i++
			b.WriteByte(text[i])
		default:
			b.WriteByte(c)
		}
	}
	return "", "", errors.New("its quote is not closed")
}

// optionName guards the errors: what is no plain name may be part of a secret.
func optionName(name string) bool {
	if name == "" {
		return false
	}
	for _, c := range name {
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && c != '.' && c != '_' && c != '-' {
			return false
		}
	}
	return true
}

// matchMechanism tells whether the login module is the mechanism's, as far as
// the line can be read now.
func matchMechanism(c Config) error {
	line := c.JAAS.Reveal()
	if secret.Sealed(line) || wholeReference(line) {
		return nil
	}
	j, err := parseJAAS(line)
	if err != nil {
		return nil // reported with the key itself
	}
	return j.matches(c.Mechanism)
}

func (j jaas) matches(mechanism string) error {
	want := moduleSCRAM
	switch mechanism {
	case "PLAIN":
		want = modulePlain
	case mechanismOAuth:
		want = moduleOAuth
	}
	if mechanism != defaultSASL && j.module != want {
		return fmt.Errorf("%s does not go with %s %s; it wants %s", j.module, keyMechanism, mechanism, want)
	}
	return nil
}
