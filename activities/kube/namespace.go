package kube

import (
	"context"
	"fmt"
	"time"

	appsv1 "k8s.io/client-go/kubernetes/typed/apps/v1"
	authenticationv1 "k8s.io/client-go/kubernetes/typed/authentication/v1"
	authorizationv1 "k8s.io/client-go/kubernetes/typed/authorization/v1"
	corev1 "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/drawbridge-dr/drawbridge/workflows/runbook"
)

// callTimeout bounds one request to an API server.
const callTimeout = 10 * time.Second

// Namespace is the workloads of one place of a plan. It is cheap to make: it keeps
// no watch and no cache, and connections are shared by client-go.
type Namespace struct {
	place runbook.Workloads
	apps  *appsv1.AppsV1Client
	core  *corev1.CoreV1Client
	can   *authorizationv1.AuthorizationV1Client
	who   *authenticationv1.AuthenticationV1Client
}

// Open reads how to reach the place's API server: its kubeconfig, or the service
// account of the worker's own pod. It asks nobody. Its errors are a *ConfigError.
func Open(place runbook.Workloads) (*Namespace, error) {
	cfg, err := config(place)
	if err != nil {
		return nil, &ConfigError{Where: place.Where(), Err: err}
	}
	cfg.Timeout, cfg.UserAgent = callTimeout, "drawbridge-worker"
	cfg.QPS, cfg.Burst = 100, 200 // a freeze must not wait for client-go's five a second
	n, err := connect(cfg)
	if err != nil {
		return nil, &ConfigError{Where: place.Where(), Err: err}
	}
	n.place = place
	return n, nil
}

func config(place runbook.Workloads) (*rest.Config, error) {
	if place.KubeconfigFile == "" {
		cfg, err := rest.InClusterConfig()
		if err != nil {
			return nil, fmt.Errorf("the plan names no kubeconfig_file, and the worker's own service account cannot be used: %w", err)
		}
		return cfg, nil
	}
	// Read at each call, so that a new token or certificate in it counts at once.
	return clientcmd.NewNonInteractiveDeferredLoadingClientConfig(
		&clientcmd.ClientConfigLoadingRules{ExplicitPath: place.KubeconfigFile},
		&clientcmd.ConfigOverrides{CurrentContext: place.Context},
	).ClientConfig()
}

// connect takes the four APIs that are used; the whole clientset would be far more.
func connect(cfg *rest.Config) (*Namespace, error) {
	var (
		n   Namespace
		err error
	)
	if n.apps, err = appsv1.NewForConfig(cfg); err != nil {
		return nil, err
	}
	if n.core, err = corev1.NewForConfig(cfg); err != nil {
		return nil, err
	}
	if n.can, err = authorizationv1.NewForConfig(cfg); err != nil {
		return nil, err
	}
	n.who, err = authenticationv1.NewForConfig(cfg)
	return &n, err
}

// look asks again until done, an error, or within has passed.
func look(ctx context.Context, within time.Duration, ask func(context.Context) (done bool, err error)) error {
	deadline := time.Now().Add(within)
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for {
		done, err := ask(ctx)
		if done || err != nil || !time.Now().Before(deadline) {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
}

const lookEvery = 500 * time.Millisecond
