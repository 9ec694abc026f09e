package client

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/drawbridge-dr/drawbridge/client/record"
)

// disk keeps the raw JSON of the last record believed, so that its digest still speaks for it.
type disk struct {
	dir, path string
}

func openDisk(dir, pair string) (disk, error) {
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return disk{}, fmt.Errorf("folder for the last record of pair %s: %w", pair, err)
	}
	return disk{dir: dir, path: filepath.Join(dir, pair+".record.json")}, nil
}

// load returns nil, without an error, if nothing was kept yet.
func (d disk) load(pair string) (*record.Record, error) {
	raw, err := os.ReadFile(d.path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read the kept record: %w", err)
	}
	r, err := decode(raw, pair)
	if err != nil {
		return nil, fmt.Errorf("kept record %s: %w", d.path, err)
	}
	return &r, nil
}

// save replaces the file whole: after a crash either the old record is there or the new one. A newer record is left there:
// another process may have been given the same folder, and the next start must not go back behind what it saw.
func (d disk) save(raw []byte, r record.Record) (err error) {
	if kept, err := d.load(r.Pair); err == nil && kept != nil && kept.Epoch > r.Epoch {
		return nil
	}
	f, err := os.CreateTemp(d.dir, filepath.Base(d.path)+".*.tmp")
	if err != nil {
		return fmt.Errorf("keep the record: %w", err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("keep the record: %w", err), os.Remove(f.Name()))
		}
	}()
	_, err = f.Write(raw)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err = os.Rename(f.Name(), d.path); err != nil {
		return err
	}
	// The folder too, or a power cut could bring the old name back. Not every file system can do this.
	if dir, openErr := os.Open(d.dir); openErr == nil {
		_ = dir.Sync()
		_ = dir.Close()
	}
	return nil
}

// decode is record.Unmarshal and the check that it is our pair's.
func decode(raw []byte, pair string) (record.Record, error) {
	r, err := record.Unmarshal(raw)
	if err != nil {
		return record.Record{}, err
	}
	if r.Pair != pair {
		return record.Record{}, fmt.Errorf("%w: it is the record of pair %q, not %q", record.ErrInvalid, r.Pair, pair)
	}
	return r, nil
}
