package main

import (
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// screen is where something is shown to a person.
type screen struct {
	io.Writer
	// width and height in characters; 0 where no terminal is: lines are then as long as they get, for grep and awk.
	width, height int
	// colour: states may be coloured. Never in a pipe, and not where NO_COLOR is set (no-color.org) or TERM is dumb.
	colour bool
}

// screenOf finds out what w is. It asks each time, since windows are resized.
func screenOf(w io.Writer) *screen {
	s := &screen{Writer: w}
	size, ok := terminal(w)
	if !ok {
		return s
	}
	s.width, s.height = int(size.Col), int(size.Row)
	s.colour = os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb"
	return s
}

// terminal is the size of the terminal that a file is, if it is one.
func terminal(file any) (*unix.Winsize, bool) {
	f, ok := file.(*os.File)
	if !ok {
		return nil, false
	}
	size, err := unix.IoctlGetWinsize(int(f.Fd()), unix.TIOCGWINSZ)
	return size, err == nil
}

// tones are the colours of states, as cells of tables say them.
var tones = map[string]string{
	"done": green, "ok": green, "ready": green, "ACTIVE": green, "open": green,
	"running": cyan, "PENDING_STOPPED": cyan, "PENDING_MIRROR": cyan,
	"waiting": yellow, "skipped": yellow, "undone": yellow, "PAUSED": yellow, "warning": yellow, "unknown": yellow, "frozen": yellow,
	"failed": red, "FAILED": red, "SOURCE_UNAVAILABLE": red, "LINK_FAILED": red, "bad": red, "lost": red,
}

const (
	red, green, yellow, cyan = "\x1b[31m", "\x1b[32m", "\x1b[33m", "\x1b[36m"
	bold, plain              = "\x1b[1m", "\x1b[0m"
)

// painted is text as it is shown, coloured if it is a state.
func (s *screen) painted(text, tone string) string {
	if !s.colour || tone == "" {
		return text
	}
	return tone + text + plain
}
