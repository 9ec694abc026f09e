package operator

import (
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/drawbridge-dr/drawbridge/workflows/plan"
	"github.com/drawbridge-dr/drawbridge/workflows/runbook"
)

// Signer is a person with a key.
type Signer struct {
	Name string // as in the plan's people
	via  string // the bot whose key it is, "" for the person's own
	key  ed25519.PrivateKey
}

// For signs with the key of s, the plan's bot, on behalf of a person.
func (s Signer) For(person string) Signer { return Signer{Name: person, via: s.Name, key: s.key} }

// Public is the base64 of the public key, as the plan lists it.
func (s Signer) Public() string {
	return base64.StdEncoding.EncodeToString(s.key.Public().(ed25519.PublicKey))
}

// SignHold returns the hold, or release, for that key of Consul with this person's name and signature.
func (s Signer) SignHold(key string, h runbook.Hold) (runbook.Hold, error) {
	var err error
	h.By = s.Name
	h.Signature, err = plan.SignHold(s.key, holdOrder(key, h))
	return h, err
}

// VerifyHold checks a hold of that key of Consul against the plan's people.
func VerifyHold(people []plan.Person, key string, h runbook.Hold) error {
	return plan.VerifyHold(people, holdOrder(key, h))
}

func holdOrder(key string, h runbook.Hold) plan.HoldOrder {
	return plan.HoldOrder{Key: key, Held: h.Held, Seq: h.Seq, By: h.By, Reason: h.Reason, Since: h.Since, Signature: h.Signature}
}

// keyFile is the JSON of a key file, readable by its owner only.
type keyFile struct {
	Name       string `json:"name"`
	PublicKey  string `json:"public_key"`
	PrivateKey string `json:"private_key"`
}

// NewKeyFile makes a key for a person and writes it to path, which must not exist. It returns the person; the private key
// is in the file alone.
func NewKeyFile(path, name string) (Signer, error) {
	if name == "" {
		return Signer{}, errors.New("new key: no name given: use the name in the plan's people")
	}
	public, private, err := plan.NewKey()
	if err != nil {
		return Signer{}, fmt.Errorf("new key for %s: %w", name, err)
	}
	raw, err := json.MarshalIndent(keyFile{Name: name, PublicKey: public, PrivateKey: private}, "", "  ")
	if err != nil {
		return Signer{}, fmt.Errorf("new key for %s: %w", name, err)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return Signer{}, fmt.Errorf("new key for %s: %w", name, err)
	}
	// O_EXCL: a key that is overwritten is lost, and with it the person's vote until the plan is changed.
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return Signer{}, fmt.Errorf("new key for %s: %w", name, err)
	}
	_, err = f.Write(append(raw, '\n'))
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return Signer{}, fmt.Errorf("new key for %s: write %s: %w", name, path, err)
	}
	return LoadSigner(path)
}

// LoadSigner reads a person's key file. It refuses one that others can read. No error shows the key.
func LoadSigner(path string) (Signer, error) { return loadSigner(path, 0o077) }

// LoadBotSigner reads the key file of a service, which its group may read: so Kubernetes gives a secret to a pod.
func LoadBotSigner(path string) (Signer, error) { return loadSigner(path, 0o037) }

func loadSigner(path string, refused os.FileMode) (Signer, error) {
	info, err := os.Stat(path)
	if err != nil {
		return Signer{}, fmt.Errorf("key file: %w", err)
	}
	if info.Mode().Perm()&refused != 0 {
		return Signer{}, fmt.Errorf("key file %s can be read by others (mode %04o): chmod 600 it, and make a new key if anybody may have read it", path, info.Mode().Perm())
	}
	raw, err := os.ReadFile(path)
	if err != nil {
		return Signer{}, fmt.Errorf("key file: %w", err)
	}
	var f keyFile
	if json.Unmarshal(raw, &f) != nil || f.Name == "" {
		return Signer{}, fmt.Errorf("key file %s: not a key file of `drctl key new`", path)
	}
	key, err := plan.ParsePrivate(f.PrivateKey)
	if err != nil {
		return Signer{}, fmt.Errorf("key file %s: %w", path, err)
	}
	s := Signer{Name: f.Name, key: key}
	if f.PublicKey != s.Public() {
		return Signer{}, fmt.Errorf("key file %s: its public and private key do not belong together", path)
	}
	return s, nil
}
