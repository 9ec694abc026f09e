package clients

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/sasl/plain"
)

// Headers that carry a record's number and its attempt.
const (
	headerRecord  = "demo-record"
	headerAttempt = "demo-attempt"
)

// How long a client tries to finish what it has begun, less than the kill timeout of drctl exec: what is not committed
// is read again, so a cluster that answers slowly gets stopTimeout; one that is dead gets deadTimeout.
const (
	stopTimeout = 20 * time.Second
	deadTimeout = 2 * time.Second
)

// Place is where drctl exec wants the client to work.
type Place struct {
	Site      string
	Bootstrap []string
	Username  string
	Password  string
}

// PlaceFrom reads the environment that drctl exec gives to its child.
func PlaceFrom(getenv func(string) string) (Place, error) {
	p := Place{Site: getenv("DRAWBRIDGE_SITE"), Username: getenv("KAFKA_USERNAME"), Password: getenv("KAFKA_PASSWORD")}
	if servers := getenv("DRAWBRIDGE_BOOTSTRAP"); servers != "" {
		p.Bootstrap = strings.Split(servers, ",")
	}
	var faults []error
	for _, v := range []struct{ name, value string }{
		{"DRAWBRIDGE_SITE", p.Site}, {"DRAWBRIDGE_BOOTSTRAP", strings.Join(p.Bootstrap, ",")}, {"KAFKA_USERNAME", p.Username}, {"KAFKA_PASSWORD", p.Password},
	} {
		if v.value == "" {
			faults = append(faults, fmt.Errorf("%s is not set: run this under drctl exec, with --credentials", v.name))
		}
	}
	return p, errors.Join(faults...)
}

func (p Place) options(clientID string) []kgo.Opt {
	return []kgo.Opt{
		kgo.SeedBrokers(p.Bootstrap...), kgo.ClientID(clientID),
		kgo.SASL(plain.Auth{User: p.Username, Pass: p.Password}.AsMechanism()),
		kgo.DialTimeout(2 * time.Second), kgo.RetryBackoffFn(func(int) time.Duration { return 100 * time.Millisecond }),
	}
}

// HeaderOffset marks a record that the recovery appended; it is the engine's.
const HeaderOffset = "drawbridge-source-offset"

// Numbered reads a record's number and attempt, and whether it was appended by
// a recovery.
func Numbered(r *kgo.Record) (name string, attempt int, recovered bool) {
	for _, h := range r.Headers {
		switch h.Key {
		case headerRecord:
			name = string(h.Value)
		case headerAttempt:
			_, _ = fmt.Sscan(string(h.Value), &attempt) // 0 is no attempt: the checker calls it foreign
		case HeaderOffset:
			recovered = true
		}
	}
	return name, attempt, recovered
}
