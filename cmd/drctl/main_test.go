package main

import (
	"errors"
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// race is what the race detector is told in each drctl that is a process of its own. By itself it waits a second at each end
// for what other goroutines may still do; there are more than a hundred ends.
const race = "atexit_sleep_ms=20"

func TestMain(m *testing.M) {
	if err := os.Setenv("GORACE", race); err != nil {
		panic(err)
	}
	completeWait, holdWait = time.Minute, time.Minute // no test waits for a silent server by them
	testscript.Main(m, map[string]func(){
		"drctl": func() { os.Exit(run(os.Args[1:], os.Stdin, os.Stdout, os.Stderr)) },
	})
}

var update = flag.Bool("update", false, "rewrite the expected outputs in testdata/*.txt; review the diff")

// TestScripts plays testdata/*.txt: what a person types and what is printed. Beside testscript's own commands there is
// "code N command…", which wants exactly that exit code. $ENGINE is a strict fake engine, $TOKEN a file with its token.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: "testdata",
		Setup: func(env *testscript.Env) error {
			_, url := newFakeEngine(t)
			token := env.WorkDir + "/token"
			env.Setenv("GORACE", race) // a script inherits nothing
			env.Setenv("ENGINE", url)
			env.Setenv("TOKEN", token)
			env.Setenv("XDG_CONFIG_HOME", env.WorkDir+"/config")
			env.Setenv("HOME", env.WorkDir)
			// Nothing listens on the discard port of loopback.
			temporal := env.WorkDir + "/config/temporalio/temporal.toml"
			return errors.Join(
				os.MkdirAll(filepath.Dir(temporal), 0o750),
				os.WriteFile(temporal, []byte("[profile.default]\naddress = \"127.0.0.1:9\"\n"), 0o600),
				os.WriteFile(token, []byte(fakeToken+"\n"), 0o600))
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"code": func(ts *testscript.TestScript, neg bool, args []string) {
				if neg || len(args) < 2 {
					ts.Fatalf("usage: code N command [args...]")
				}
				want, err := strconv.Atoi(args[0])
				ts.Check(err)
				got := 0
				var exit *exec.ExitError
				if err := ts.Exec(args[1], args[2:]...); errors.As(err, &exit) {
					got = exit.ExitCode()
				} else if err != nil {
					ts.Fatalf("%s: %v", args[1], err)
				}
				if got != want {
					ts.Fatalf("exit code %d, want %d", got, want)
				}
			},
		},
		UpdateScripts: *update,
	})
}
