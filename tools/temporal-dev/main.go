// Command temporal-dev is a Temporal server in one process, on sqlite, with the Web UI: what the tests and the demo of
// Drawbridge run when no temporal CLI is on the PATH.
//
// It exists because the CLI's own development server is an internal package and its newer releases do not build from
// the module proxy. It takes the part of `temporal server start-dev`'s flags that the Go SDK's testsuite.StartDevServer
// passes, so either binary can stand in for the other. It is for development: one shard, no TLS, no authorisation,
// loopback unless told otherwise.
//
// Start reading at run; config.go holds what the server is told.
package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"

	uiserver "github.com/temporalio/ui-server/v2/server"
	uiconfig "github.com/temporalio/ui-server/v2/server/config"
	uioptions "github.com/temporalio/ui-server/v2/server/server_options"
	"go.temporal.io/server/common/authorization"
	"go.temporal.io/server/common/config"
	"go.temporal.io/server/common/dynamicconfig"
	"go.temporal.io/server/common/log"
	"go.temporal.io/server/temporal"
)

func main() {
	os.Exit(mainCode(os.Args[1:], os.Stdout, os.Stderr))
}

// mainCode returns the process's exit code: 0 after a signal, 1 on a fault, 2 on wrong flags.
func mainCode(args []string, stdout, stderr io.Writer) int {
	// The words of the CLI's command, which the SDK's test suite passes.
	for len(args) > 0 && (args[0] == "server" || args[0] == "start-dev") {
		args = args[1:]
	}
	o, err := parse(args, stderr)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return 0
	case err != nil:
		fmt.Fprintln(stderr, "temporal-dev:", err)
		return 2
	case o.version:
		fmt.Fprintln(stdout, "temporal-dev version", version())
		return 0
	}
	if err := run(o, stdout, stderr); err != nil {
		fmt.Fprintln(stderr, "temporal-dev:", err)
		return 1
	}
	return 0
}

// run serves until SIGINT or SIGTERM. It prints one line "frontend <host:port>" and, with the UI, one "ui <url>" when
// they are started.
func run(o options, stdout, stderr io.Writer) error {
	// Registered before the server starts: a SIGTERM during start-up must not kill the process half way.
	sig := make(chan os.Signal, 1)
	signal.Notify(sig, os.Interrupt, syscall.SIGTERM)

	sql, err := openStore(o)
	if err != nil {
		return err
	}
	conf, hosts, err := serverConfig(o, sql)
	if err != nil {
		return err
	}
	logger := log.NewZapLogger(log.BuildZapLogger(log.Config{Stdout: true, Level: o.logLevel}))
	authorizer, err := authorization.GetAuthorizerFromConfig(&conf.Global.Authorization)
	if err != nil {
		return fmt.Errorf("authoriser: %w", err)
	}
	claims, err := authorization.GetClaimMapperFromConfig(&conf.Global.Authorization, logger)
	if err != nil {
		return fmt.Errorf("claim mapper: %w", err)
	}
	srv, err := temporal.NewServer(
		temporal.WithConfig(conf),
		temporal.ForServices(temporal.DefaultServices),
		temporal.WithStaticHosts(hosts),
		temporal.WithLogger(logger),
		temporal.WithAuthorizer(authorizer),
		temporal.WithClaimMapper(func(*config.Config) authorization.ClaimMapper { return claims }),
		temporal.WithDynamicConfigClient(dynamicconfig.StaticClient{
			// Sized for a laptop, and for tests that list workflows in a loop.
			dynamicconfig.HistoryCacheHostLevelMaxSize.Key():                 8096,
			dynamicconfig.FrontendMaxNamespaceVisibilityRPSPerInstance.Key(): 100,
		}),
	)
	if err != nil {
		return fmt.Errorf("server on %s: %w", o.frontend(), err)
	}
	if err := srv.Start(); err != nil {
		return fmt.Errorf("start server on %s: %w", o.frontend(), err)
	}
	defer srv.Stop()
	fmt.Fprintln(stdout, "frontend", o.frontend())

	uiEnded := make(chan error, 1)
	if !o.headless {
		ui := uiserver.NewServer(uioptions.WithConfigProvider(&uiconfig.Config{
			Host: o.ip, Port: o.uiPort, TemporalGRPCAddress: o.frontend(), EnableUI: true, HideLogs: true,
			CORS: uiconfig.CORS{CookieInsecure: true}, DisableNewsFetch: true,
		}))
		defer ui.Stop()
		go func() { uiEnded <- ui.Start() }()
		fmt.Fprintf(stdout, "ui http://%s:%d\n", o.ip, o.uiPort)
	}
	for {
		select {
		case <-sig:
			return nil
		case err := <-uiEnded:
			// The server is worth more than its window: go on without it, but say so.
			fmt.Fprintln(stderr, "temporal-dev: web ui ended, the server goes on:", err)
		}
	}
}

// version names the Temporal server that is built in.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	for _, dep := range info.Deps {
		if dep.Path == "go.temporal.io/server" {
			return fmt.Sprintf("(Server %s)", dep.Version)
		}
	}
	return "unknown"
}
