// Command drctl is Drawbridge's command line: plans, keys, links and mirrors, runbooks (start, answer, follow), and exec,
// which runs an application so that it follows the pair's record of truth.
//
// It decides nothing about a pair: runbooks are started and answered through package operator, links and mirrors through
// the engine's REST client, and what is not in those it does not do.
//
// Start at root.go; one file per verb.
package main

import "os"

func main() { os.Exit(run(os.Args[1:], os.Stdin, os.Stdout, os.Stderr)) }
