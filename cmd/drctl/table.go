package main

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode/utf8"
)

const (
	gap     = "  " // between columns
	narrow  = 8    // no column is made narrower than this to fit a terminal
	missing = "-"
)

// rows writes a table; the first row is the heading. On a terminal cells are wrapped until the table fits, so that nothing
// of it is lost; elsewhere a row is a line.
func rows(w io.Writer, lines [][]string) {
	s := as(w)
	for _, cells := range lines {
		for i, c := range cells {
			if c == "" {
				c = missing
			}
			cells[i] = strings.Map(oneLine, c)
		}
	}
	widths := fit(columns(lines), s.width)
	for n, cells := range lines {
		s.row(cells, widths, n == 0)
	}
}

// as takes w for the screen that it is, or for no terminal.
func as(w io.Writer) *screen {
	if s, ok := w.(*screen); ok {
		return s
	}
	return &screen{Writer: w}
}

// oneLine keeps a cell from breaking its row.
func oneLine(r rune) rune {
	if r == '\t' || r == '\n' || r == '\r' {
		return ' '
	}
	return r
}

// columns are the widths that cells ask for. A row that ends early says something about the whole line in its last cell,
// which makes no column wider.
func columns(lines [][]string) []int {
	var widths []int
	for n, cells := range lines {
		for i, c := range cells {
			if i == len(widths) {
				widths = append(widths, 0)
			}
			if n > 0 && i == len(cells)-1 && len(cells) < len(lines[0]) {
				break
			}
			widths[i] = max(widths[i], utf8.RuneCountInString(c))
		}
	}
	return widths
}

// fit makes the widest columns narrower until all stand within width; 0 is any width.
func fit(widths []int, width int) []int {
	if width <= 0 || len(widths) == 0 {
		return widths
	}
	room := width - len(gap)*(len(widths)-1)
	for sum(widths) > room {
		widest := 0
		for i, n := range widths {
			if n > widths[widest] {
				widest = i
			}
		}
		if widths[widest] <= narrow {
			break // the terminal is too narrow for any table
		}
		widths[widest]--
	}
	return widths
}

func sum(ns []int) (total int) {
	for _, n := range ns {
		total += n
	}
	return total
}

// row writes one row, on as many lines as its tallest cell needs.
func (s *screen) row(cells []string, widths []int, heading bool) {
	wrapped := make([][]string, len(cells))
	tall := 1
	for i, c := range cells {
		room := widths[i]
		if i == len(cells)-1 && len(cells) < len(widths) {
			room = sum(widths[i:]) + len(gap)*(len(widths)-1-i)
		}
		if s.width == 0 {
			room = utf8.RuneCountInString(c)
		}
		wrapped[i] = wrap(c, room)
		tall = max(tall, len(wrapped[i]))
	}
	for n := range tall {
		var b strings.Builder
		pad := 0 // blanks owed before the next text, so that no line ends in some
		for i, parts := range wrapped {
			text := ""
			if n < len(parts) {
				text = parts[n]
			}
			if text != "" {
				tone := tones[cells[i]]
				if heading {
					tone = bold
				}
				b.WriteString(strings.Repeat(" ", pad) + s.painted(text, tone))
				pad = 0
			}
			pad += max(0, widths[i]-utf8.RuneCountInString(text)) + len(gap)
		}
		fmt.Fprintln(s, b.String())
	}
}

// wrap breaks text at blanks into lines of at most width characters; a longer word is cut.
func wrap(text string, width int) []string {
	width = max(width, 1)
	var out []string
	line := ""
	for _, word := range strings.Split(text, " ") {
		if line != "" && utf8.RuneCountInString(line)+1+utf8.RuneCountInString(word) <= width {
			line += " " + word
			continue
		}
		if line != "" {
			out = append(out, line)
		}
		letters := []rune(word)
		for len(letters) > width {
			out = append(out, string(letters[:width]))
			letters = letters[width:]
		}
		line = string(letters)
	}
	if line != "" || len(out) == 0 {
		out = append(out, line)
	}
	return out
}

// pairs writes aligned "name: value" lines, leaving out empty values.
func pairs(w io.Writer, kv ...string) {
	s := as(w)
	name := 0
	for p := range slices.Chunk(kv, 2) {
		if p[1] != "" {
			name = max(name, utf8.RuneCountInString(p[0])+1)
		}
	}
	for p := range slices.Chunk(kv, 2) {
		if p[1] == "" {
			continue
		}
		value := []string{p[1]}
		if room := s.width - name - len(gap); s.width > 0 && room >= narrow {
			value = wrap(p[1], room)
		}
		label := p[0] + ":"
		for _, line := range value {
			fmt.Fprintf(s, "%-*s%s%s\n", name, label, gap, line)
			label = ""
		}
	}
}
