//go:build linux

package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/drawbridge-dr/drawbridge/test/local"
)

// teletype is one drctl at a terminal of its own.
type teletype struct {
	t      *testing.T
	keys   *os.File
	shown  *local.Output
	cmd    *exec.Cmd
	ended  chan struct{}
	copied chan struct{}
}

// atTerminal starts drctl with a new pseudo terminal of that size as stdin, stdout and stderr.
func atTerminal(t *testing.T, columns, lines uint16, env []string, args ...string) *teletype {
	t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	fd := int(master.Fd()) // before the poller has it: reads then block, and end when the other side is closed
	n, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err == nil {
		err = unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0)
	}
	if err == nil {
		err = unix.IoctlSetWinsize(fd, unix.TIOCSWINSZ, &unix.Winsize{Col: columns, Row: lines})
	}
	if err != nil {
		t.Fatal(err)
	}
	tty, err := os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	path, err := exec.LookPath("drctl") // TestMain has put it there
	if err != nil {
		t.Fatal(err)
	}
	x := &teletype{t: t, keys: master, shown: &local.Output{}, ended: make(chan struct{}), copied: make(chan struct{})}
	x.cmd = exec.CommandContext(t.Context(), path, args...)
	x.cmd.Env = append(append(os.Environ(), "TERM=xterm", "NO_COLOR="), env...)
	x.cmd.Stdin, x.cmd.Stdout, x.cmd.Stderr = tty, tty, tty
	x.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	if err := x.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if err := tty.Close(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(x.copied)
		b := make([]byte, 4096)
		for {
			n, err := master.Read(b)
			_, _ = x.shown.Write(b[:n])
			if err != nil { // EIO: nobody has the terminal open any more
				return
			}
		}
	}()
	go func() {
		defer close(x.ended)
		_ = x.cmd.Wait()
	}()
	t.Cleanup(func() {
		_ = x.cmd.Process.Kill()
		<-x.ended
		<-x.copied
		_ = master.Close()
	})
	return x
}

func (x *teletype) until(text string) {
	x.t.Helper()
	deadline := time.After(2 * time.Minute)
	poll := time.NewTicker(10 * time.Millisecond)
	defer poll.Stop()
	for !strings.Contains(x.shown.String(), text) {
		select {
		case <-poll.C:
		case <-deadline:
			x.t.Fatalf("%q is not shown:\n%q", text, x.shown)
		}
	}
}

func (x *teletype) types(text string) {
	x.t.Helper()
	if _, err := x.keys.WriteString(text); err != nil {
		x.t.Fatal(err)
	}
}

func (x *teletype) ends(code int, texts ...string) {
	x.t.Helper()
	select {
	case <-x.ended:
	case <-time.After(2 * time.Minute):
		x.t.Fatalf("it still runs:\n%q", x.shown)
	}
	<-x.copied
	if got := x.cmd.ProcessState.ExitCode(); got != code {
		x.t.Errorf("exit code %d, want %d:\n%s", got, code, x.shown)
	}
	for _, text := range texts {
		if !strings.Contains(x.shown.String(), text) {
			x.t.Errorf("%q is not shown:\n%q", text, x.shown)
		}
	}
}

func TestAtATerminalThePairsNameIsTyped(t *testing.T) {
	start := []string{"failover", "orders", "--unsigned", "--temporal", "127.0.0.1:9"}
	for name, c := range map[string]struct {
		typed string
		code  int
		text  string
	}{
		"another name":     {"payments\n", codeRefused, `"payments" was typed and not "orders": nothing was done`},
		"only y":           {"y\n", codeRefused, "nothing was done"},
		"nothing":          {"\n", codeRefused, "nothing was done"},
		"the end of input": {"\x04", codeRefused, "not confirmed"},
		"Ctrl-C":           {"\x03", codeRefused, "interrupted): nothing was done"},
		"the name":         {"orders\n", codeUnreachable, "does not answer"}, // and on it goes, to a Temporal that is not there
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			x := atTerminal(t, 80, 24, nil, start...)
			x.until(`Type "orders" to go on: `)
			x.types(c.typed)
			x.ends(c.code, "left at the old site", c.text)
		})
	}
}

func TestAtATerminalTablesFitAndStatesAreColoured(t *testing.T) {
	_, url := newFakeEngine(t)
	token := t.TempDir() + "/token"
	if err := os.WriteFile(token, []byte(fakeToken), 0o600); err != nil {
		t.Fatal(err)
	}
	env := []string{"DRCTL_ENGINE=" + url, "DRCTL_ENGINE_TOKEN_FILE=" + token}
	for _, args := range [][]string{
		{"link", "create", "east-to-west", "--source-cluster-id", "lkc-east", "--config", "bootstrap.servers=127.0.0.1:9"},
		{"mirror", "create", "east-to-west", "a-topic-with-quite-a-long-name.of.a.team-that-likes-words"},
	} {
		atTerminal(t, 60, 24, env, args...).ends(0)
	}
	x := atTerminal(t, 60, 24, env, "mirror", "list")
	x.ends(0, green+"ACTIVE"+plain, bold+"MIRROR"+plain)
	for _, line := range strings.Split(strings.NewReplacer(bold, "", plain, "", green, "", "\r", "").Replace(x.shown.String()), "\n") {
		if len(line) > 60 {
			t.Errorf("a line of %d on 60 columns: %q", len(line), line)
		}
	}
	plainly := atTerminal(t, 60, 24, append(env, "NO_COLOR=1"), "mirror", "list")
	plainly.ends(0, "ACTIVE")
	if strings.Contains(plainly.shown.String(), "\x1b") {
		t.Errorf("coloured in spite of NO_COLOR: %q", plainly.shown)
	}
}

func TestWatchShowsTheOpenRunInOnePlaceToItsEnd(t *testing.T) {
	s := newStage(t)
	s.want(s.drctl("watch", "orders"), 3, "no operation is open on pair orders", "drctl reports orders")
	s.want(s.drctl("watch", "orders", "--every", "1ms"), 2, "--every 1ms")
	s.want(s.drctl(append([]string{"failover", "orders", "--yes=orders", "--detach", "--epoch", "3"}, s.as("ann")...)...), 0)
	s.untilWaits("approval")

	at := []string{"--temporal", s.temporal.HostPort()}
	watch := append([]string{"watch", "orders", "--every", "200ms"}, at...)
	screen := atTerminal(t, 100, 40, nil, watch...)
	small := atTerminal(t, 60, 12, nil, watch...)
	screen.until(goHome)
	screen.until("waiting for approval")
	screen.until("steps done")
	small.until("earlier steps are not shown")
	// Whoever starts or follows it gets lines, and under them how far it is.
	follow := atTerminal(t, 100, 40, nil, append([]string{"status", "orders", "--follow"}, at...)...)
	follow.until(eraseLine + "waiting for approval · ")
	left := atTerminal(t, 100, 40, nil, watch...)
	left.until("waiting for approval")
	left.types("\x03")
	left.ends(codeFailed, "no longer following; the run goes on")
	piped := map[string]*piped{}
	for _, form := range outputs {
		piped[form] = s.pipe("watch", "orders", "-o", form)
	}
	for form, p := range piped {
		s.until("the watch as "+form+" sees it", func() error {
			if !strings.Contains(p.out.String()+p.errOut.String(), "approval") {
				return errors.New("not yet")
			}
			return nil
		})
	}
	s.want(s.drctl(append([]string{"deny", "orders", "--reason", "it is back"}, s.as("bob")...)...), 0)
	screen.ends(codeNoChange, "denied by bob: it is back", "outcome", "ended without a change")
	small.ends(codeNoChange)
	follow.ends(codeNoChange, "outcome")
	// What the table has shown is not told again.
	if n := strings.Count(follow.shown.String(), "attest outage"); n != 1 {
		t.Errorf("a step is told %d times:\n%s", n, follow.shown)
	}
	texts := map[string][]string{
		asTable: {"outcome:", "denied by bob"},
		asJSON:  {`{"pair":"orders",`, `"phase":`},
		asYAML:  {"---\n", "phase: "},
	}
	for form, p := range piped {
		got := <-p.ended
		s.want(got, codeNoChange, texts[form]...)
		if strings.Contains(got.out+got.errOut, "\x1b") {
			t.Errorf("escapes in a pipe: %q", got.out+got.errOut)
		}
		if form != asTable && strings.Contains(got.out, "report_file") {
			t.Errorf("a result among the statuses: %s", got.out)
		}
	}
}

// piped is a drctl whose output can be read while it runs.
type piped struct {
	out, errOut local.Output
	ended       chan said
}

func (s *stage) pipe(args ...string) *piped {
	p := &piped{ended: make(chan said, 1)}
	go func() {
		code := run(append(args, "--temporal", s.temporal.HostPort()), strings.NewReader(""), &p.out, &p.errOut)
		p.ended <- said{code, p.out.String(), p.errOut.String()}
	}()
	return p
}
