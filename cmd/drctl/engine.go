package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/drawbridge-dr/drawbridge/mirrorengine/api"
)

// engineFlags say which engine the link and mirror commands talk to.
type engineFlags struct {
	url, tokenFile string
	tls            api.TLSFiles
}

func (e *engineFlags) add(cmd *cobra.Command) {
	f := cmd.PersistentFlags()
	f.StringVar(&e.url, "engine", "", "URL of the engine beside the destination cluster (default: DRCTL_ENGINE)")
	f.StringVar(&e.tokenFile, "token-file", "", "file with the engine's token (default: DRCTL_ENGINE_TOKEN_FILE)")
	f.StringVar(&e.tls.CAFile, "ca-file", "", "PEM file with the authorities of the engine's certificate (default: DRCTL_ENGINE_CA_FILE, else the system's)")
	f.StringVar(&e.tls.CertFile, "cert-file", "", "PEM file with a certificate to show to the engine (default: DRCTL_ENGINE_CERT_FILE)")
	f.StringVar(&e.tls.KeyFile, "key-file", "", "PEM file with the certificate's key (default: DRCTL_ENGINE_KEY_FILE)")
}

func (e engineFlags) client() (*api.Client, error) {
	url, file := e.url, e.tokenFile
	if url == "" {
		url = os.Getenv("DRCTL_ENGINE")
	}
	if url == "" {
		return nil, usagef("no engine named: give --engine URL or set DRCTL_ENGINE")
	}
	if !strings.HasPrefix(url, "http://") && !strings.HasPrefix(url, "https://") {
		return nil, usagef("--engine %q: give a URL with http:// or https://", url)
	}
	if file == "" {
		file = os.Getenv("DRCTL_ENGINE_TOKEN_FILE")
	}
	for name, file := range map[string]*string{"CA": &e.tls.CAFile, "CERT": &e.tls.CertFile, "KEY": &e.tls.KeyFile} {
		if *file == "" {
			*file = os.Getenv("DRCTL_ENGINE_" + name + "_FILE")
		}
	}
	hc, err := e.tls.HTTPClient()
	if err != nil {
		return nil, err
	}
	c := &api.Client{BaseURL: url, HTTP: hc}
	if file != "" {
		token, err := readToken(file)
		if err != nil {
			return nil, err
		}
		c.Token = token
	}
	return c, nil
}

// withEngine makes a RunE of a function that needs the engine.
func (e *engineFlags) with(f func(ctx context.Context, c *api.Client, args []string) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error {
		c, err := e.client()
		if err != nil {
			return err
		}
		return f(cmd.Context(), c, args)
	}
}

// configFlags are configs as NAME=VALUE, on the command line or in a file, where secrets belong.
type configFlags struct {
	sets []string
	file string
}

func (c *configFlags) add(cmd *cobra.Command, name string) {
	cmd.Flags().StringArrayVar(&c.sets, name, nil, "NAME=VALUE, may be repeated; secrets belong into --config-file, everybody can see a command line")
	cmd.Flags().StringVar(&c.file, "config-file", "", "file with NAME=VALUE lines; blank lines and lines that begin with # are skipped")
}

// read returns all configs, the file's first. Errors name the config, never its value.
func (c configFlags) read() ([]api.NameValue, error) {
	var out []api.NameValue
	var faults []error
	add := func(where, line string) {
		name, value, ok := strings.Cut(line, "=")
		name = strings.TrimSpace(name)
		if !ok || name == "" {
			faults = append(faults, usagef("%s: not NAME=VALUE", where))
			return
		}
		value = strings.TrimSpace(value)
		out = append(out, api.NameValue{Name: name, Value: &value})
	}
	if c.file != "" {
		f, err := os.Open(c.file)
		if err != nil {
			return nil, fmt.Errorf("config file: %w", err)
		}
		defer f.Close()
		lines := bufio.NewScanner(f)
		for n := 1; lines.Scan(); n++ {
			if line := strings.TrimSpace(lines.Text()); line != "" && line[0] != '#' {
				add(fmt.Sprintf("%s:%d", c.file, n), line)
			}
		}
		if err := lines.Err(); err != nil {
			return nil, fmt.Errorf("config file %s: %w", c.file, err)
		}
	}
	for i, s := range c.sets {
		add(fmt.Sprintf("config %d on the command line", i+1), s)
	}
	return out, errors.Join(faults...)
}
