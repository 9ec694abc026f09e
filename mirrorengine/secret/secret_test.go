package secret

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func write(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestReferencesAreResolvedWhereTheyStand(t *testing.T) {
	props := write(t, "a:b.properties", "# user\npassword = hun=ter\\2 \nuser: ann\nempty=\n")
	plain := write(t, "plain", "  s3cret\n")
	t.Setenv("DB_TEST_SECRET", "from ${env:NOT_LOOKED_AT}")
	for value, want := range map[string]string{
		"":                               "",
		"no reference":                   "no reference",
		"${file:" + plain + "}":          "s3cret",
		"${file:" + props + ":password}": `hun=ter\2`,
		"${env:DB_TEST_SECRET}":          "from ${env:NOT_LOOKED_AT}",
		`user="${file:` + props + `:user}" pass='${file:` + plain + `}';`: `user="ann" pass='s3cret';`,
	} {
		got, err := Resolve(value)
		if err != nil || got != want {
			t.Errorf("%s: got %q, %v", value, got, err)
		}
		if err := Check(value); err != nil {
			t.Errorf("%s: %v", value, err)
		}
	}
}

func TestAReferenceThatCannotBeResolvedSaysWhyWithoutTheValue(t *testing.T) {
	props := write(t, "p", "password=hunter2\nempty=\n")
	for value, says := range map[string]string{
		"${file:" + props + ":user}":                                          "no value for key user",
		"${file:" + props + ":empty}":                                         "no value for key empty",
		"${file:" + props + ".gone:password}":                                 "no such file",
		"${file:" + write(t, "e", " \n") + "}":                                "is empty",
		"${file:" + write(t, "big", strings.Repeat("hunter2", maxFile)) + "}": "larger than",
		"${env:DRAWBRIDGE_NOT_SET}":                                           "DRAWBRIDGE_NOT_SET",
		"${vault:kv/x#y}":                                                     "no vault in its configuration",
		"${vault:kv/hunter2}":                                                 "is not complete",
		"${vault:kv/../hunter2#y}":                                            "is not complete",
		"${vault:hunter2#y}":                                                  "is not complete",
		"${hunter2:x}":                                                        "unknown kind",
		"hunter2${":                                                           "no closing brace",
		"${file:}":                                                            "names nothing",
	} {
		got, err := Resolve(value)
		if err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: got %q, %v, want …%s…", value, got, err, says)
		}
		if err != nil && strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: the value is in the error: %v", value, err)
		}
	}
	if err := Check("${vault:a#b}"); err == nil {
		t.Error("a mount without a path passed")
	}
	if err := Check("${vault:team/kv//a/b#c}"); err != nil {
		t.Error(err)
	}
	if err := Check("a${b:c}"); err == nil {
		t.Error("an unknown kind passed")
	}
	if err := Check("${env:A"); err == nil {
		t.Error("an open brace passed")
	}
}

func TestARedactedSecretShowsNowhere(t *testing.T) {
	type config struct{ Password Redacted }
	c := config{Password: "hunter2"}
	var out bytes.Buffer
	log := slog.New(slog.NewJSONHandler(&out, nil))
	log.Info("x", "password", c.Password, "config", c)
	text := slog.New(slog.NewTextHandler(&out, nil))
	text.Info("x", "password", c.Password, "config", c)
	b, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	out.Write(b)
	fmt.Fprintf(&out, "%v %+v %#v %s %q", c, c, c, c.Password, c.Password)
	if strings.Contains(out.String(), "hunter2") {
		t.Error(out.String())
	}
	if c.Password.Reveal() != "hunter2" {
		t.Error("revealed something else")
	}
}

func TestASealedSecretOpensOnlyForItsLinkAndConfig(t *testing.T) {
	sealer, err := NewSealer(write(t, "key", GenerateKey()+"\n"))
	if err != nil {
		t.Fatal(err)
	}
	other, err := NewSealer(write(t, "key", GenerateKey()))
	if err != nil {
		t.Fatal(err)
	}
	sealed, err := sealer.Seal("hunter2", "east-west", "sasl.jaas.config")
	if err != nil {
		t.Fatal(err)
	}
	again, err := sealer.Seal("hunter2", "east-west", "sasl.jaas.config")
	if err != nil || again == sealed {
		t.Fatalf("the same secret sealed twice looks the same: %v", err)
	}
	if strings.Contains(sealed, "hunter2") || !Sealed(sealed) || Sealed("hunter2") {
		t.Fatalf("got %s", sealed)
	}
	if got, err := sealer.Open(sealed, "east-west", "sasl.jaas.config"); err != nil || got != "hunter2" {
		t.Fatalf("got %q, %v", got, err)
	}
	var none *Sealer
	for name, open := range map[string]func() (string, error){
		"other link":       func() (string, error) { return sealer.Open(sealed, "west-east", "sasl.jaas.config") },
		"other config":     func() (string, error) { return sealer.Open(sealed, "east-west", "ssl.keystore.key") },
		"shifted boundary": func() (string, error) { return sealer.Open(sealed, "east-wests", "asl.jaas.config") },
		"other key":        func() (string, error) { return other.Open(sealed, "east-west", "sasl.jaas.config") },
		"no key":           func() (string, error) { return none.Open(sealed, "east-west", "sasl.jaas.config") },
		"changed": func() (string, error) {
			return sealer.Open(sealed[:len(sealed)-4]+"AAAA", "east-west", "sasl.jaas.config")
		},
		"cut off":    func() (string, error) { return sealer.Open(sealedV1+"AAAA", "east-west", "sasl.jaas.config") },
		"not base64": func() (string, error) { return sealer.Open(sealedV1+"hunter2!", "east-west", "sasl.jaas.config") },
		"not sealed": func() (string, error) { return sealer.Open("hunter2", "east-west", "sasl.jaas.config") },
	} {
		got, err := open()
		if err == nil || got != "" || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: got %q, %v", name, got, err)
		}
	}
	if _, err := none.Seal("hunter2", "l", "k"); !errors.Is(err, ErrNoKey) {
		t.Errorf("got %v", err)
	}
}

func TestABadKeyFileIsRefusedWithTheCure(t *testing.T) {
	for name, text := range map[string]string{"short": "aGVsbG8=", "not base64": "***", "empty": ""} {
		_, err := NewSealer(write(t, "key", text))
		if err == nil || !strings.Contains(err.Error(), "encryption key") {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

func FuzzCheckAndResolveAgreeOnForm(f *testing.F) {
	f.Add("a ${env:X} b ${file:/a:b}")
	f.Add("${")
	f.Fuzz(func(t *testing.T, value string) {
		if Check(value) != nil && strings.Count(value, open) == 1 {
			if got, err := Resolve(value); err == nil {
				t.Errorf("%q is refused by Check, yet resolved to %q", value, got)
			}
		}
	})
}
