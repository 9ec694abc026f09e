//go:build real

package deploy

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/drawbridge-dr/drawbridge/test/harness"
)

var units = map[string]string{"drawbridge-engine.service": "mirrorengine", "drawbridge-worker.service": "worker", "drawbridge-bot.service": "drbot"}

// unit are the settings of a unit's sections, each in the order in which they stand there.
type unit map[string]map[string][]string

// readUnit reads what systemd.syntax(7) describes, as far as our units use it: no line goes on in the next one.
func readUnit(t *testing.T, name string) unit {
	t.Helper()
	out, section := unit{}, ""
	for n, line := range strings.Split(read(t, "systemd", name), "\n") {
		line = strings.TrimSpace(line)
		switch {
		case line == "" || strings.HasPrefix(line, "#"):
		case strings.HasPrefix(line, "[") && strings.HasSuffix(line, "]"):
			section = line[1 : len(line)-1]
			out[section] = map[string][]string{}
		default:
			key, value, ok := strings.Cut(line, "=")
			if !ok || out[section] == nil || strings.HasSuffix(line, `\`) || strings.TrimSpace(key) != key {
				t.Errorf("%s:%d: not understood: %s", name, n+1, line)
				continue
			}
			out[section][key] = append(out[section][key], value)
		}
	}
	return out
}

// hardened are the settings that leave a service nothing but the network and its configuration.
var hardened = map[string]string{
	"NoNewPrivileges": "yes", "CapabilityBoundingSet": "", "AmbientCapabilities": "", "ProtectSystem": "strict", "ProtectHome": "yes",
	"ProtectProc": "invisible", "ProtectClock": "yes", "ProtectHostname": "yes", "ProtectKernelLogs": "yes", "ProtectKernelModules": "yes",
	"ProtectKernelTunables": "yes", "ProtectControlGroups": "yes", "PrivateTmp": "yes", "PrivateDevices": "yes", "DevicePolicy": "closed",
	"RestrictAddressFamilies": "AF_INET AF_INET6 AF_UNIX", "RestrictNamespaces": "yes", "RestrictRealtime": "yes", "RestrictSUIDSGID": "yes",
	"LockPersonality": "yes", "MemoryDenyWriteExecute": "yes", "RemoveIPC": "yes", "KeyringMode": "private", "UMask": "0027",
	"SystemCallArchitectures": "native", "SystemCallFilter": "@system-service,~@privileged", "SystemCallErrorNumber": "EPERM",
	"User": "drawbridge", "Group": "drawbridge", "Type": "exec", "Restart": "on-failure",
}

func TestUnitsAreHardenedAndNameWhatIsThere(t *testing.T) {
	t.Parallel()
	if !regexp.MustCompile(`(?m)^u drawbridge - "[^"]+" /var/lib/drawbridge$`).MatchString(read(t, "systemd", "drawbridge.sysusers")) {
		t.Error("nobody makes the user drawbridge")
	}
	for name, program := range units {
		u := readUnit(t, name)
		service := u["Service"]
		for key, want := range hardened {
			if got := strings.Join(service[key], ","); service[key] == nil || got != want {
				t.Errorf("%s: %s is %q, wanted is %q", name, key, got, want)
			}
		}
		config := map[string]string{"mirrorengine": "engine.yml", "worker": "worker.yml", "drbot": "drbot.yml"}[program]
		if want := "/usr/local/bin/" + program + " -config /etc/drawbridge/" + config; !slices.Equal(service["ExecStart"], []string{want}) {
			t.Errorf("%s starts %v, wanted is %s", name, service["ExecStart"], want)
		}
		if stop, err := strconv.Atoi(strings.Join(service["TimeoutStopSec"], "")); err != nil || stop < 20 {
			t.Errorf("%s: %v are no time to end in", name, service["TimeoutStopSec"])
		}
		if len(u["Install"]["WantedBy"]) != 1 || u["Unit"]["Description"] == nil {
			t.Errorf("%s is never started: %v", name, u["Install"])
		}
	}
}

func TestSystemdTakesTheUnits(t *testing.T) {
	t.Parallel()
	analyze, err := exec.LookPath("systemd-analyze")
	if err != nil {
		t.Log("systemd-analyze is not on this machine: the units were read by this test only")
		return
	}
	for name := range units {
		// Their programs are not where they will be.
		text := regexp.MustCompile(`/usr/local/bin/\w+`).ReplaceAllString(read(t, "systemd", name), "/bin/true")
		path := filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		// It tells of unknown settings and exits with 0.
		if out, err := command(t, analyze, "verify", "--man=no", path); err != nil || strings.TrimSpace(out) != "" {
			t.Errorf("systemd-analyze verify %s: %v\n%s", name, err, out)
		}
		// 0.0 is nothing to gain, 10 is root; 2.0 is what systemd itself calls OK.
		if out, err := command(t, analyze, "security", "--offline=true", "--no-pager", "--threshold=20", path); err != nil {
			t.Errorf("systemd-analyze security %s: %v\n%s", name, err, out)
		}
	}
}

func TestUnitsConfigurationsAreGoodAndTheirMistakesEndThem(t *testing.T) {
	t.Parallel()
	c := loadEngine(t, file("systemd", "engine.yml"))
	if len(c.Secrets.Dirs) != 1 || c.Secrets.Dirs[0] != "/etc/drawbridge/links" {
		t.Errorf("links may refer to %v", c.Secrets.Dirs)
	}
	w := loadWorker(t, file("systemd", "worker.yml"))
	if got := readUnit(t, "drawbridge-worker.service")["Service"]["StateDirectory"]; w.ReportsDir != "/var/lib/"+strings.Join(got, "") {
		t.Errorf("reports go to %s, the worker may write %v", w.ReportsDir, got)
	}
	bad := filepath.Join(t.TempDir(), "bad.yml")
	if err := os.WriteFile(bad, []byte("nonsense: true\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, program := range units {
		path, err := harness.Build(t.Context(), program)
		if err != nil {
			t.Fatal(err)
		}
		if program == "drbot" {
			takesBot(t, path)
		}
		_, err = command(t, path, "-config", bad)
		var exit *exec.ExitError
		if never := readUnit(t, name)["Service"]["RestartPreventExitStatus"]; !errors.As(err, &exit) || !slices.Equal(never, []string{fmt.Sprint(exit.ExitCode())}) {
			t.Errorf("%s ends with %v of a wrong configuration, and is not started again after %v", program, err, never)
		}
	}
}

// takesBot has drbot itself read each of its configurations, which it ends at with another code than at a secret that is not
// there: those it names.
func takesBot(t *testing.T, program string) {
	t.Helper()
	for _, config := range []string{file("systemd", "drbot.yml"), file("compose", "drbot.yml"), file("k8s", "example", "west", "drbot.yml")} {
		out, err := command(t, program, "-config", config)
		var exit *exec.ExitError
		if !errors.As(err, &exit) || exit.ExitCode() == 2 || !strings.Contains(out, "slack.bot_token_file") || !strings.Contains(out, "slack.app_token_file") || !strings.Contains(out, "key file") {
			t.Errorf("%s: %v\n%s", config, err, out)
		}
	}
}
