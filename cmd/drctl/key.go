package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/drawbridge-dr/drawbridge/cmd/internal/operator"
)

// keyInfo is what may be shown of a key.
type keyInfo struct {
	File      string `json:"file"`
	Name      string `json:"name"`
	PublicKey string `json:"public_key"`
}

func (a *app) keyCommand() *cobra.Command {
	cmd := group("key", "your Ed25519 key, which signs what you ask and approve")
	var name, file string
	newKey := &cobra.Command{
		Use: "new --name NAME [--key FILE]", Short: "make a key; its public half goes into the plan's people", Args: exactly(0),
		RunE: func(*cobra.Command, []string) error {
			if name == "" {
				return usagef("--name is missing: your name in the plan's people")
			}
			path, err := keyPath(file)
			if err != nil {
				return err
			}
			s, err := operator.NewKeyFile(path, name)
			if err != nil {
				return err
			}
			fmt.Fprintln(a.stderr, "drctl: key written, mode 0600; list the public key under people in the plan")
			return a.printKey(path, s)
		},
	}
	newKey.Flags().StringVar(&name, "name", "", "your name in the plan's people")
	show := &cobra.Command{
		Use: "show [--key FILE]", Short: "show name and public half of a key", Args: exactly(0),
		RunE: func(*cobra.Command, []string) error {
			path, err := keyPath(file)
			if err != nil {
				return err
			}
			s, err := operator.LoadSigner(path)
			if err != nil {
				return err
			}
			return a.printKey(path, s)
		},
	}
	for _, c := range []*cobra.Command{newKey, show} {
		c.Flags().StringVar(&file, "key", "", keyUsage)
		cmd.AddCommand(c)
	}
	return cmd
}

const keyUsage = "key file (default: DRCTL_KEY, or drawbridge/key.json in your configuration folder)"

func (a *app) printKey(path string, s operator.Signer) error {
	k := keyInfo{File: path, Name: s.Name, PublicKey: s.Public()}
	return a.print(k, func(w io.Writer) { pairs(w, "file", k.File, "name", k.Name, "public key", k.PublicKey) })
}

// keyPath is the key file meant by a flag that may be empty.
func keyPath(flag string) (string, error) {
	if flag != "" {
		return flag, nil
	}
	if env := os.Getenv("DRCTL_KEY"); env != "" {
		return env, nil
	}
	dir, err := os.UserConfigDir()
	if err != nil {
		return "", usagef("no key file named by --key or DRCTL_KEY, and no configuration folder: %w", err)
	}
	return filepath.Join(dir, "drawbridge", "key.json"), nil
}
