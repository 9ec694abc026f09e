package plan

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"
)

// Approval is what a person tells a run: a request, an approval, or another
// command. Its JSON is the one of runbook.Command, field by field; the
// signature covers every field but itself.
type Approval struct {
	OpID      string            `json:"op_id,omitempty"`
	Pair      string            `json:"pair"`
	Operation string            `json:"operation"`
	Epoch     int64             `json:"epoch"`
	PlanHash  string            `json:"plan_hash"`
	Decision  string            `json:"decision"`
	By        string            `json:"by"`
	Via       string            `json:"via,omitempty"`
	Reason    string            `json:"reason,omitempty"`
	Overrides []string          `json:"overrides,omitempty"`
	Question  string            `json:"question,omitempty"`
	Step      string            `json:"step,omitempty"`
	Choices   map[string]string `json:"choices,omitempty"`
	Team      string            `json:"team,omitempty"`
	Expires   time.Time         `json:"expires"`
	Signature string            `json:"signature,omitempty"`
}

// ErrSignature is any reason why a signature does not count.
var ErrSignature = errors.New("signature does not count")

// domain keeps a signature over a command from being taken for one over
// anything else that the same key may sign.
const domain = "drawbridge command v1\n"

func (a Approval) payload() ([]byte, error) {
	a.Expires = a.Expires.UTC().Round(0)
	b, err := canonical(a, "signature")
	if err != nil {
		return nil, err
	}
	return append([]byte(domain), b...), nil
}

// Sign returns a with its signature.
func Sign(key ed25519.PrivateKey, a Approval) (Approval, error) {
	a.Expires = a.Expires.UTC().Round(0)
	b, err := a.payload()
	if err != nil {
		return Approval{}, fmt.Errorf("sign as %s: %w", a.By, err)
	}
	a.Signature = base64.StdEncoding.EncodeToString(ed25519.Sign(key, b))
	return a, nil
}

// Verify checks that a was signed by the person that it names, with the key
// that people list, or on behalf of that person by bot, which may be nil; it
// returns the person. Whether it is in time, fits the run and may count is the
// run's to judge.
func Verify(people []Person, bot *Bot, a Approval) (Person, error) {
	for _, who := range people {
		if who.Name != a.By {
			continue
		}
		signer, listed := a.By, who.PublicKey
		if a.Via != "" {
			if err := bot.speaksFor(who, a); err != nil {
				return Person{}, err
			}
			signer, listed = bot.Name, bot.PublicKey
		}
		b, err := a.payload()
		if err != nil {
			return Person{}, fmt.Errorf("%w: %w", ErrSignature, err)
		}
		if err := signed(signer, listed, a.Signature, b, a.Decision); err != nil {
			return Person{}, err
		}
		return who, nil
	}
	return Person{}, fmt.Errorf("%w: the plan lists nobody called %q", ErrSignature, a.By)
}

// signed checks a signature over payload, which is a what, by the key that the plan
// lists of signer.
func signed(signer, listed, signature string, payload []byte, what string) error {
	key, err := ParsePublic(listed)
	if err != nil {
		return fmt.Errorf("%w: the plan's public key of %s: %w", ErrSignature, signer, err)
	}
	sig, err := base64.StdEncoding.DecodeString(signature)
	if err != nil || len(sig) != ed25519.SignatureSize {
		return fmt.Errorf("%w: it is missing or malformed", ErrSignature)
	}
	if !ed25519.Verify(key, payload, sig) {
		return fmt.Errorf("%w: it is not %s's signature over this %s", ErrSignature, signer, what)
	}
	return nil
}

// NewKey makes a key pair: the public part for the plan, the private part for
// a file that only its owner can read.
func NewKey() (public, private string, err error) { return newKey(rand.Reader) }

func newKey(r io.Reader) (public, private string, err error) {
	pub, priv, err := ed25519.GenerateKey(r)
	if err != nil {
		return "", "", fmt.Errorf("make a key: %w", err)
	}
	return base64.StdEncoding.EncodeToString(pub), base64.StdEncoding.EncodeToString(priv.Seed()), nil
}

// ParsePublic reads the base64 of a 32-byte Ed25519 public key.
func ParsePublic(s string) (ed25519.PublicKey, error) {
	b, err := base64.StdEncoding.DecodeString(strings.TrimSpace(s))
	if err != nil || len(b) != ed25519.PublicKeySize {
		return nil, errors.New("not the base64 of a 32-byte Ed25519 public key")
	}
	return b, nil
}

// ParsePrivate reads what NewKey made; its error never shows the content.
func ParsePrivate(s string) (ed25519.PrivateKey, error) {
	b, err := base64.StdEncoding.DecodeString(strings.TrimSpace(s))
	if err != nil || len(b) != ed25519.SeedSize {
		return nil, errors.New("not a private key of drctl key (base64 of 32 bytes)")
	}
	return ed25519.NewKeyFromSeed(b), nil
}
