//go:build unix

package supervise

import (
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/drawbridge-dr/drawbridge/client"
	"github.com/drawbridge-dr/drawbridge/client/record"
	"github.com/drawbridge-dr/drawbridge/mirrorengine/secret"
	"github.com/drawbridge-dr/drawbridge/test/local"
)

func TestPlaceholdersAndCredentialsFollowTheSite(t *testing.T) {
	dir := t.TempDir()
	files := map[string]string{}
	for site, text := range map[string]string{"east": "# of east\nKAFKA_USER=ann\nKAFKA_PASSWORD=\"a b=c\"\n", "west": "KAFKA_USER='bob'\n"} {
		files[site] = filepath.Join(dir, site+".env")
		if err := os.WriteFile(files[site], []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("KAFKA_PASSWORD", "inherited")
	t.Setenv("DRAWBRIDGE_SITE", "inherited")
	tr := try(t, "", func(c *Config) {
		c.Credentials = files
		c.Command = []string{"sh", "-c", `printf '%s|%s|%s|%s ' "$0" "$KAFKA_USER" "$(echo $KAFKA_PASSWORD|tr ' ' _)" $DRAWBRIDGE_SITE >>$LOG; trap 'exit 0' TERM; while :; do sleep 0.02; done`, "{{.Site}}@{{.Bootstrap}}#{{.Epoch}}"}
	})
	tr.show(rec(1, "east", record.Open))
	tr.untilLog("east@e1:1,e2:1#1|ann|a_b=c|east")
	tr.show(rec(2, "west", record.Open))
	tr.untilLog("east@e1:1,e2:1#1|ann|a_b=c|east", "west@w1:2#2|bob|inherited|west")
}

func TestFaultsOfTheConfigurationAreReportedAtOnceWithoutSecrets(t *testing.T) {
	file := filepath.Join(t.TempDir(), "bad.env")
	if err := os.WriteFile(file, []byte("hunter2\nDRAWBRIDGE_SITE=x\n =hunter3\nOK=1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := Run(t.Context(), Config{
		Pair: "orders", Group: "", Instance: "i/1", Command: []string{"app", "{{.Bootstraps}}", "{{"}, Splay: -1,
		Credentials: map[string]string{"east": file, "west": file + ".missing"},
	}, nil, nil)
	if err == nil {
		t.Fatal("accepted")
	}
	for _, want := range []string{"{{.Bootstraps}}", `"{{"`, "group", "instance", "splay", "kill timeout", "bad.env:1", "bad.env:2", "bad.env:3", "bad.env.missing"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not named in: %v", want, err)
		}
	}
	if strings.Contains(err.Error(), "hunter") {
		t.Errorf("a value is shown: %v", err)
	}
}

// In a failover the vault, or the file that its agent writes, may come a moment after the record.
func TestAChildWhoseCredentialsComeLaterIsStartedThenAndSecretsAreReadAnew(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		t.Helper()
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return file
	}
	password := filepath.Join(dir, "west.password")
	files := map[string]string{
		"east": write("east.env", "KAFKA_PASSWORD=${env:EAST_PASSWORD}\n"),
		"west": write("west.env", "KAFKA_USER=bob\nKAFKA_PASSWORD=${file:"+password+"}\n"),
	}
	t.Setenv("EAST_PASSWORD", "one")
	var logged local.Output
	tr := try(t, `printf '%s:%s ' $DRAWBRIDGE_SITE $KAFKA_PASSWORD >>$LOG; trap 'exit 0' TERM; while :; do sleep 0.02; done`, func(c *Config) {
		c.Credentials, c.Resolve = files, secret.Resolve
		c.Log = slog.New(slog.NewTextHandler(&logged, nil))
	})
	tr.show(rec(1, "east", record.Open))
	tr.untilLog("east:one")
	tr.show(rec(2, "west", record.Open))
	tr.until("the fault to be told", func() error {
		if !strings.Contains(logged.String(), "west.env: KAFKA_PASSWORD") {
			return errors.New(logged.String())
		}
		return nil
	})
	write("west.password", "two\n")
	tr.untilLog("east:one", "west:two")
	write("west.password", "three\n")
	tr.show(rec(2, "west", record.Frozen))
	tr.untilAck(client.Stopped, 2, record.Frozen, "")
	tr.show(rec(2, "west", record.Open))
	tr.untilLog("east:one", "west:two", "west:three")
	if strings.Contains(logged.String(), "two") || strings.Contains(logged.String(), "three") {
		t.Errorf("a secret is in the log: %s", &logged)
	}
}

func TestASecretThatCannotBeReadAtTheFirstStartIsAFault(t *testing.T) {
	file := filepath.Join(t.TempDir(), "east.env")
	if err := os.WriteFile(file, []byte("A=x\nKAFKA_PASSWORD=${file:/no/such/file}\nB=${hunter2}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	tr := try(t, waiting, func(c *Config) {
		c.Credentials, c.Resolve = map[string]string{"east": file}, secret.Resolve
	})
	tr.show(rec(1, "east", record.Open))
	tr.ends(1)
	for _, want := range []string{"east.env: KAFKA_PASSWORD", "/no/such/file", "east.env: B"} {
		if !strings.Contains(tr.err.Error(), want) {
			t.Errorf("%q is not named in: %v", want, tr.err)
		}
	}
	if strings.Contains(tr.err.Error(), "hunter2") {
		t.Errorf("a value is shown: %v", tr.err)
	}
}
