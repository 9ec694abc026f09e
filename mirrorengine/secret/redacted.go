package secret

import "log/slog"

// mask is what every printing of a Redacted shows.
const mask = "[redacted]"

// Redacted is a secret that no log, error or JSON shows by accident. Its zero
// value is an empty secret.
type Redacted string

// Reveal is the secret itself; the call is what a reviewer searches for.
func (r Redacted) Reveal() string { return string(r) }

// String is the mask.
func (Redacted) String() string { return mask }

// GoString is the mask, for %#v.
func (Redacted) GoString() string { return mask }

// LogValue is the mask, for slog.
func (Redacted) LogValue() slog.Value { return slog.StringValue(mask) }

// MarshalText is the mask, for JSON and YAML.
func (Redacted) MarshalText() ([]byte, error) { return []byte(mask), nil }
