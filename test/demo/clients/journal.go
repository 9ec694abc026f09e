package clients

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"sync"
)

// Journal is an append-only file of JSON lines. A line is one write, so that a
// killed process leaves whole lines, but for the last.
type Journal[T any] struct {
	mu   sync.Mutex // guards file, so that lines keep their order
	file *os.File
}

// OpenJournal reads what is there, cuts off a last line that is not whole, and
// goes on behind it.
func OpenJournal[T any](path string) (*Journal[T], []T, error) {
	lines, whole, err := read[T](path)
	if err != nil {
		return nil, nil, err
	}
	file, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, nil, err
	}
	if err = file.Truncate(whole); err == nil {
		_, err = file.Seek(whole, 0)
	}
	if err != nil {
		return nil, nil, errors.Join(err, file.Close())
	}
	return &Journal[T]{file: file}, lines, nil
}

// ReadJournal returns the whole lines of a journal that somebody may be
// writing; a file that is not there has none.
func ReadJournal[T any](path string) ([]T, error) {
	lines, _, err := read[T](path)
	return lines, err
}

func read[T any](path string) (lines []T, whole int64, err error) {
	raw, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, 0, nil
	}
	if err != nil {
		return nil, 0, err
	}
	for n := 1; ; n++ {
		end := bytes.IndexByte(raw, '\n')
		if end < 0 {
			return lines, whole, nil
		}
		var v T
		if err := json.Unmarshal(raw[:end], &v); err != nil {
			return nil, 0, fmt.Errorf("%s line %d: %w", path, n, err)
		}
		lines = append(lines, v)
		raw = raw[end+1:]
		whole += int64(end + 1)
	}
}

// Append writes lines, all by one write.
func (j *Journal[T]) Append(lines ...T) error {
	var buf bytes.Buffer
	for _, l := range lines {
		raw, err := json.Marshal(l)
		if err != nil {
			return err
		}
		buf.Write(append(raw, '\n'))
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	_, err := j.file.Write(buf.Bytes())
	return err
}

// Close closes the file.
func (j *Journal[T]) Close() error { return j.file.Close() }

// Tail reads a journal that somebody is writing, each line once.
type Tail[T any] struct {
	path  string
	mu    sync.Mutex // guards what follows
	at    int64
	lines []T
}

// NewTail returns a tail of the journal at path, which need not be there yet.
func NewTail[T any](path string) *Tail[T] { return &Tail[T]{path: path} }

// Lines returns all whole lines so far. The slice is shared: do not write to it.
func (t *Tail[T]) Lines() ([]T, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	file, err := os.Open(t.path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer file.Close()
	raw, err := io.ReadAll(io.NewSectionReader(file, t.at, math.MaxInt32))
	if err != nil {
		return nil, err
	}
	raw = raw[:bytes.LastIndexByte(raw, '\n')+1]
	for line := range bytes.Lines(raw) {
		var v T
		if err := json.Unmarshal(line, &v); err != nil {
			return nil, fmt.Errorf("%s, line %d: %w", t.path, len(t.lines)+1, err)
		}
		t.lines = append(t.lines, v)
		t.at += int64(len(line))
	}
	return t.lines, nil
}
