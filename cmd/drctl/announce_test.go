package main

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/drawbridge-dr/drawbridge/client/record"
	"github.com/drawbridge-dr/drawbridge/test/local"
)

func TestAnnounceKeepsTheServersOfTheActiveSite(t *testing.T) {
	consul := local.ConsulForTest(t, local.ConsulConfig{})
	put(t, consul, rec(1, "east", record.Open))
	path, err := exec.LookPath("drctl")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	proc, err := local.Start(local.Spec{
		Name: "drctl announce", Path: path, LogFile: filepath.Join(dir, "log"), Env: []string{"CONSUL_HTTP_ADDR="},
		Args: []string{"announce", "--pair", "orders", "--service", "orders-kafka", "--consul", consul.Address(), "--state-dir", dir},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := proc.Stop(2 * time.Minute); err != nil {
			t.Error(err)
		}
	})
	cl, err := consul.Client()
	if err != nil {
		t.Fatal(err)
	}
	x := &execution{t: t, proc: proc}
	says := func(want ...string) {
		t.Helper()
		x.until(fmt.Sprintf("the service to be %q", want), func() error {
			found, _, err := cl.Health().Service("orders-kafka", "", true, nil)
			if err != nil {
				return err
			}
			var got []string
			for _, s := range found {
				got = append(got, fmt.Sprintf("%s:%d", s.Service.Address, s.Service.Port))
			}
			slices.Sort(got)
			if !slices.Equal(got, want) {
				return fmt.Errorf("it is %q", got)
			}
			return nil
		})
	}
	says("e1:1", "e2:1")
	put(t, consul, rec(2, "west", record.Open))
	says("w1:2")
	if err := syscall.Kill(proc.Pid(), syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	x.ends(0)
}
