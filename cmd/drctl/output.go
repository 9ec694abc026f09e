package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"text/tabwriter"
	"time"
)

// print writes v as JSON, or what table writes, as -o says. Nothing is coloured, so a pipe gets what a terminal gets.
func (a *app) print(v any, table func(w io.Writer)) error {
	if a.output == "json" {
		enc := json.NewEncoder(a.stdout)
		enc.SetIndent("", "  ")
		enc.SetEscapeHTML(false)
		return enc.Encode(v)
	}
	table(a.stdout)
	return nil
}

// rows writes a table; the first row is the heading.
func rows(w io.Writer, lines [][]string) {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, cells := range lines {
		for i, c := range cells {
			if c == "" {
				c = "-"
			}
			cells[i] = strings.ReplaceAll(c, "\t", " ")
		}
		fmt.Fprintln(t, strings.Join(cells, "\t"))
	}
	_ = t.Flush() // w is stdout or a buffer; a broken pipe shows at the next write
}

// pairs writes aligned "name: value" lines, leaving out empty values.
func pairs(w io.Writer, kv ...string) {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for i := 0; i+1 < len(kv); i += 2 {
		if kv[i+1] != "" {
			fmt.Fprintf(t, "%s:\t%s\n", kv[i], kv[i+1])
		}
	}
	_ = t.Flush()
}

// stamp shows a time to the second, in UTC.
func stamp(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format("2006-01-02 15:04:05Z")
}

// confirmed asks the person at the terminal to type want. Without a terminal it is a usage error that names the flag to
// give instead.
func (a *app) confirmed(question, want, flag string) error {
	in, ok := a.stdin.(*os.File)
	if ok {
		info, err := in.Stat()
		ok = err == nil && info.Mode()&fs.ModeCharDevice != 0
	}
	if !ok {
		return usagef("%s This asks for a confirmation and there is no terminal: give %s", question, flag)
	}
	fmt.Fprintf(a.stderr, "%s\nType %q to go on: ", question, want)
	line, err := bufio.NewReader(a.stdin).ReadString('\n')
	if err != nil && line == "" {
		return refusedf("not confirmed (%v): give %s where nobody can type", err, flag)
	}
	if strings.TrimSpace(line) != want {
		return refusedf("not confirmed: %q was typed, not %q", strings.TrimSpace(line), want)
	}
	return nil
}
