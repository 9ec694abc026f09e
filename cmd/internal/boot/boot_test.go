package boot

import (
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
	"net"
	"os"
	"runtime/debug"
	"strings"
	"syscall"
	"testing"
)

func TestASignalEndsTheServiceInOrder(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var out, log bytes.Buffer
	code := Service{Name: "test", Configure: func(string, string) (Configured, error) {
		return Configured{New: func(context.Context, *slog.Logger) (Server, error) { return signalled{listener}, nil }}, nil
	}}.Main(nil, &out, &log)
	if code != ExitOK || !strings.Contains(log.String(), "msg=stopped service=test") {
		t.Errorf("exit code %d, log:\n%s", code, log.String())
	}
}

// signalled gets a SIGTERM as soon as it runs.
type signalled struct{ net.Listener }

func (s signalled) Run(ctx context.Context) error {
	if err := syscall.Kill(os.Getpid(), syscall.SIGTERM); err != nil {
		return err
	}
	<-ctx.Done()
	return nil
}

func (s signalled) Close() { _ = s.Listener.Close() }

func TestTheLogHasLevelAndFormat(t *testing.T) {
	var out bytes.Buffer
	log := newLogger("warn", "json", &out)
	log.Info("quiet")
	log.Warn("loud", "link", "east-west")
	var line struct{ Level, Msg, Link, Version string }
	if err := json.Unmarshal(out.Bytes(), &line); err != nil {
		t.Fatalf("%v in %q", err, out.String())
	}
	if line.Msg != "loud" || line.Link != "east-west" || line.Version == "" {
		t.Errorf("logged %+v", line)
	}
	out.Reset()
	plain := newLogger("", "", &out)
	plain.Debug("quiet")
	plain.Info("loud")
	if got := out.String(); !strings.Contains(got, "level=INFO msg=loud") || strings.Contains(got, "quiet") {
		t.Errorf("without settings it logged %q", got)
	}
}

func TestBuildInfoNamesReleaseAndCommit(t *testing.T) {
	got := Info{Version: "v1.2.3", Revision: "4f2a9c1d03be5566", Modified: true, Go: "go1.26.8"}.String()
	if want := "v1.2.3 (4f2a9c1d03be, modified) go1.26.8"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if got := (Info{Version: "(devel)", Go: "go1.26.8"}).String(); got != "(devel) go1.26.8" {
		t.Errorf("without version control: %q", got)
	}
	noted := &debug.BuildInfo{GoVersion: "go1.26", Main: debug.Module{Version: "v0.9.0"}, Settings: []debug.BuildSetting{{Key: "vcs.revision", Value: "4f2a9c1d03bea11"}, {Key: "vcs.modified", Value: "true"}}}
	for want, b := range map[Info]Info{
		{"v1.0.0", "4f2a9c1d03bea11", true, "go1.26"}: infoOf("v1.0.0", noted),
		{"v0.9.0", "4f2a9c1d03bea11", true, "go1.26"}: infoOf("", noted),
		{Version: "(devel)"}:                          infoOf("", nil),
	} {
		if b != want {
			t.Errorf("%+v, want %+v", b, want)
		}
	}
	if b := Build(); b.Version == "" || b.Go == "" {
		t.Errorf("this build says %+v", b)
	}
}
