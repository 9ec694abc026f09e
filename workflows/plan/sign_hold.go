package plan

import (
	"crypto/ed25519"
	"encoding/base64"
	"fmt"
	"time"
)

// HoldOrder is a hold or a release as a person signs it: for one key of Consul, so
// that what was signed for one pair says nothing of another, and with its place in the
// order of things, so that an old one put back rules over nothing.
type HoldOrder struct {
	Key       string    `json:"key"`
	Held      bool      `json:"held"`
	Seq       int64     `json:"seq"`
	By        string    `json:"by"`
	Reason    string    `json:"reason"`
	Since     time.Time `json:"since"`
	Signature string    `json:"signature,omitempty"`
}

// holdDomain keeps it apart from commands.
const holdDomain = "drawbridge hold v1\n"

func (h HoldOrder) payload() ([]byte, error) {
	h.Since = h.Since.UTC().Round(0)
	b, err := canonical(h, "signature")
	if err != nil {
		return nil, err
	}
	return append([]byte(holdDomain), b...), nil
}

// SignHold is the signature over h.
func SignHold(key ed25519.PrivateKey, h HoldOrder) (string, error) {
	b, err := h.payload()
	if err != nil {
		return "", fmt.Errorf("sign as %s: %w", h.By, err)
	}
	return base64.StdEncoding.EncodeToString(ed25519.Sign(key, b)), nil
}

// VerifyHold checks that h was signed by the person that it names, with the key that
// people list.
func VerifyHold(people []Person, h HoldOrder) error {
	b, err := h.payload()
	if err != nil {
		return fmt.Errorf("%w: %w", ErrSignature, err)
	}
	what := "release"
	if h.Held {
		what = "hold"
	}
	for _, who := range people {
		if who.Name == h.By {
			return signed(who.Name, who.PublicKey, h.Signature, b, what)
		}
	}
	return fmt.Errorf("%w: the plan lists nobody called %q", ErrSignature, h.By)
}
