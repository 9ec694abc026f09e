package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
)

// sure is the flag that stands for typing a name at the terminal before what cannot be taken back. It takes the name, so
// that a command line that is called up again for another pair does not pass by its --yes.
type sure string

func (y *sure) String() string { return string(*y) }
func (y *sure) Type() string   { return "NAME" }

func (y *sure) Set(name string) error {
	if name == "" || strings.HasPrefix(name, "-") {
		return errors.New("it takes the name again that you act on, as in --yes=orders")
	}
	*y = sure(name)
	return nil
}

// add adds it to a command; kind is what is named: pair, link.
func (y *sure) add(cmd *cobra.Command, kind string) {
	cmd.Flags().VarP(y, "yes", "y", "the "+kind+"'s name again, instead of typing it at the terminal when asked")
}

// confirmed has the person at the terminal type name, unless --yes has told it. Without a terminal that is a usage error.
// Ctrl-C at the question is a no.
func (a *app) confirmed(ctx context.Context, yes sure, question, name string) error {
	switch {
	case string(yes) == name:
		return nil
	case yes != "":
		return refusedf("--yes names %q and this is about %q: nothing was done", string(yes), name)
	}
	if _, ok := terminal(a.stdin); !ok {
		return usagef("%s This asks for a confirmation and there is no terminal to type it at: give --yes=%s", question, name)
	}
	fmt.Fprintf(a.stderr, "%s\nType %q to go on: ", question, name)
	type answer struct {
		line string
		err  error
	}
	answered := make(chan answer, 1)
	go func() { // a read cannot be interrupted; this one ends with the process
		line, err := bufio.NewReader(a.stdin).ReadString('\n')
		answered <- answer{line, err}
	}()
	var line string
	var err error
	select {
	case <-ctx.Done():
		fmt.Fprintln(a.stderr)
		return refusedf("not confirmed (interrupted): nothing was done")
	case got := <-answered:
		line, err = got.line, got.err
	}
	if err != nil && line == "" {
		return refusedf("not confirmed (%v): nothing was done", err)
	}
	if typed := strings.TrimSpace(line); typed != name {
		return refusedf("not confirmed, %q was typed and not %q: nothing was done", typed, name)
	}
	return nil
}
