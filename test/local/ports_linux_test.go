package local

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
)

// A server that listens where outgoing connections get their ports cannot start while one of those has its port.
func TestServersListenBelowThePortsOfOutgoingConnections(t *testing.T) {
	temporal, consul := TemporalForTest(t, TemporalConfig{UI: true}), ConsulForTest(t, ConsulConfig{})
	for name, proc := range map[string]*Process{"temporal": temporal.proc, "consul": consul.proc} {
		ports := listening(t, proc.Pid())
		if len(ports) == 0 {
			t.Errorf("%s listens nowhere", name)
			continue
		}
		if high := slices.Max(ports); high >= ephemeralStart() {
			t.Errorf("%s listens on %v: %d is one that the system may give to an outgoing connection", name, ports, high)
		}
	}
}

// A child that is forked while a port is tried must not keep it from whoever the port was found for.
func TestAPortThatIsFreeStaysFreeBesideForks(t *testing.T) {
	ports, err := FreePorts(1)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	var forks sync.WaitGroup
	for range 4 {
		forks.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
				}
				if err := exec.CommandContext(t.Context(), "true").Run(); err != nil {
					t.Errorf("fork: %v", err)
					return
				}
			}
		})
	}
	for i := range 2000 {
		if !bindable(ports[0]) {
			t.Errorf("port %d was free %d times, and then it was not", ports[0], i)
			break
		}
	}
	close(done)
	forks.Wait()
}

// listening returns the TCP ports of 127.0.0.1 on which a process listens: /proc/net/tcp, see proc_net(5).
func listening(t *testing.T, pid int) []int {
	t.Helper()
	open, err := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", pid))
	if err != nil {
		t.Fatal(err)
	}
	own := make(map[string]bool)
	for _, fd := range open {
		if target, err := os.Readlink(fd); err == nil { // one that is closed meanwhile is no port to listen on
			own[target] = true
		}
	}
	table, err := os.ReadFile("/proc/net/tcp")
	if err != nil {
		t.Fatal(err)
	}
	const loopback, listen = "0100007F:", "0A"
	var ports []int
	for line := range strings.Lines(string(table)) {
		f := strings.Fields(line)
		if len(f) < 10 || f[3] != listen || !own["socket:["+f[9]+"]"] || !strings.HasPrefix(f[1], loopback) {
			continue
		}
		var port int
		if _, err := fmt.Sscanf(f[1][len(loopback):], "%x", &port); err != nil {
			t.Fatal(err)
		}
		ports = append(ports, port)
	}
	return ports
}
