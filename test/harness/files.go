package harness

import (
	"errors"
	"os"
	"path/filepath"
)

// writeWhole writes a file that a running process may read at the same time: it finds the old text or the new one. A secret is
// written again by each test that links the same clusters.
func writeWhole(file string, text []byte) error {
	f, err := os.CreateTemp(filepath.Dir(file), ".new-*") // 0600
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(f.Name(), file)
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return nil
}
