package local

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"time"
)

// kubeReady is how long a Kubernetes may take on a busy machine.
const kubeReady = 3 * time.Minute

// KubeForTest starts a Kubernetes (tools/kube-dev: a real API server and workload controllers, no kubelet) that is
// killed when the test ends, and returns the kubeconfig of a super user.
func KubeForTest(t TB) (kubeconfig string) {
	t.Helper()
	kubeconfig, proc, err := startKube(t.Context(), t.TempDir())
	if err != nil {
		t.Fatalf("%v", err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("end of the log of kube-dev:\n%s", proc.Log(20))
		}
		if err := proc.Kill(); err != nil {
			t.Logf("kill kube-dev: %v", err)
		}
	})
	return kubeconfig
}

func startKube(ctx context.Context, dir string) (string, *Process, error) {
	path, err := Tool(ctx, ToolKube)
	if err != nil {
		return "", nil, err
	}
	ports, err := FreePorts(3)
	if err != nil {
		return "", nil, err
	}
	args := []string{dir, strconv.Itoa(ports[0]), strconv.Itoa(ports[1]), strconv.Itoa(ports[2])}
	proc, err := Start(Spec{Name: "kube-dev", Path: path, Args: args, LogFile: filepath.Join(dir, "kube-dev.log")})
	if err != nil {
		return "", nil, err
	}
	kubeconfig := filepath.Join(dir, "kubeconfig")
	ctx, cancel := context.WithTimeout(ctx, kubeReady)
	defer cancel()
	err = proc.WaitReady(ctx, "kube-dev to serve", func(context.Context) error {
		_, err := os.Stat(kubeconfig) // written when all is up
		return err
	})
	if err != nil {
		return "", nil, errors.Join(fmt.Errorf("%w; end of its log:\n%s", err, proc.Log(20)), proc.Kill())
	}
	return kubeconfig, proc, nil
}
