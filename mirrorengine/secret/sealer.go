package secret

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
)

// ErrNoKey is an inline secret without a key to seal it with.
var ErrNoKey = errors.New("the engine has no encryption key: set encryption_key_file, or give a reference as ${file:/path:key} instead of the secret")

// sealedV1 begins every sealed value; a later form gets another number, and
// both are read.
const sealedV1 = "sealed:v1:"

// keySize is that of AES-256, in bytes.
const keySize = 32

// Sealer encrypts inline secrets for the state topic, by AES-256-GCM. The link
// and the config's key are bound into the sealing, so that a sealed value
// copied to another link, or to another config, does not open. A nil Sealer
// seals nothing: it answers ErrNoKey.
type Sealer struct {
	aead cipher.AEAD
}

// NewSealer reads the key from a file: 32 bytes in base64, as written by
// "openssl rand -base64 32".
func NewSealer(keyFile string) (*Sealer, error) {
	text, err := File(keyFile)
	if err != nil {
		return nil, fmt.Errorf("encryption key: %w", err)
	}
	key, err := base64.StdEncoding.DecodeString(text)
	if err != nil || len(key) != keySize {
		return nil, fmt.Errorf("encryption key file %s: wants %d bytes in base64; write one by: openssl rand -base64 %d", keyFile, keySize, keySize)
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, fmt.Errorf("encryption key: %w", err)
	}
	// The nonce is drawn at random and kept before the text; a key is good for
	// 2^32 sealings, which is beyond any number of config changes.
	aead, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		return nil, fmt.Errorf("encryption key: %w", err)
	}
	return &Sealer{aead: aead}, nil
}

// GenerateKey is a new key in the form that NewSealer reads.
func GenerateKey() string {
	key := make([]byte, keySize)
	_, _ = rand.Read(key) // it never fails: it would crash the process instead
	return base64.StdEncoding.EncodeToString(key)
}

// Sealed tells whether value was made by Seal.
func Sealed(value string) bool { return strings.HasPrefix(value, sealedV1) }

// Seal encrypts a config's value for one link.
func (s *Sealer) Seal(value, link, key string) (string, error) {
	if s == nil {
		return "", ErrNoKey
	}
	box := s.aead.Seal(nil, nil, []byte(value), boundTo(link, key))
	return sealedV1 + base64.StdEncoding.EncodeToString(box), nil
}

// Open is the way back. It fails for a value that was sealed with another key,
// for another link or config, or that was changed.
func (s *Sealer) Open(sealed, link, key string) (string, error) {
	if s == nil {
		return "", fmt.Errorf("open %s of link %s: %w", key, link, ErrNoKey)
	}
	text, ok := strings.CutPrefix(sealed, sealedV1)
	if !ok {
		return "", fmt.Errorf("open %s of link %s: not a sealed value of a version that this engine knows", key, link)
	}
	box, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		return "", fmt.Errorf("open %s of link %s: sealed value is damaged", key, link)
	}
	value, err := s.aead.Open(nil, nil, box, boundTo(link, key))
	if err != nil {
		return "", fmt.Errorf("open %s of link %s: sealed with another encryption key, or for another link or config; set the config again", key, link)
	}
	return string(value), nil
}

// boundTo is the associated data. The link's length goes first, so that no two
// pairs of link and key give the same bytes.
func boundTo(link, key string) []byte {
	b := binary.BigEndian.AppendUint32([]byte(sealedV1), uint32(len(link))) //nolint:gosec // a name, far below 4 GiB
	return append(append(b, link...), key...)
}
