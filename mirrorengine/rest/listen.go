package rest

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"time"
)

// TLS is what the API's own listener shows and trusts, by PEM files. They are
// read again when they change, so that a renewed certificate needs no restart.
type TLS struct {
	CertFile, KeyFile string
	// ClientCAFile has the authorities of client certificates; empty: none is asked
	// for. A caller without one may still show a token.
	ClientCAFile string
}

// Listen opens the API's address, and refuses one that others can reach unless
// the connection is encrypted and callers are asked who they are.
func Listen(ctx context.Context, address string, access Access, files TLS) (net.Listener, error) {
	var config *tls.Config
	if files != (TLS{}) {
		f := &tlsFiles{files: files}
		first, err := f.load()
		if err != nil {
			return nil, fmt.Errorf("TLS of the engine's API: %w", err)
		}
		config = first.Clone()
		config.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) { return f.current(), nil }
	}
	var lc net.ListenConfig
	ln, err := lc.Listen(ctx, "tcp", address)
	if err != nil {
		return nil, fmt.Errorf("listen for the engine's API: %w", err)
	}
	tcp, ok := ln.Addr().(*net.TCPAddr)
	if inside := ok && tcp.IP.IsLoopback(); !inside && (access.Open() || config == nil) {
		return nil, errors.Join(
			fmt.Errorf("listen for the engine's API on %s: not a loopback address; whoever reaches it could promote mirrors, or read tokens on the way: set tls (cert_file, key_file) and tokens, token_file or certificates, or listen on 127.0.0.1, also behind a proxy of your own", ln.Addr()),
			ln.Close())
	}
	if config != nil {
		ln = tls.NewListener(ln, config)
	}
	return ln, nil
}

// tlsFiles keeps the configuration that the files gave last.
type tlsFiles struct {
	files TLS

	mu     sync.Mutex // guards what follows
	config *tls.Config
	stamps [3]time.Time
}

// current reads the files again if they have changed. While they cannot be read
// (a certificate is just being replaced) the last ones hold.
func (f *tlsFiles) current() *tls.Config {
	f.mu.Lock()
	last, stamps := f.config, f.stamps
	f.mu.Unlock()
	if f.changed() == stamps {
		return last
	}
	if c, err := f.load(); err == nil {
		return c
	}
	return last
}

func (f *tlsFiles) changed() [3]time.Time {
	var out [3]time.Time
	for i, name := range []string{f.files.CertFile, f.files.KeyFile, f.files.ClientCAFile} {
		if info, err := os.Stat(name); err == nil {
			out[i] = info.ModTime()
		}
	}
	return out
}

func (f *tlsFiles) load() (*tls.Config, error) {
	stamps := f.changed() // before the files: what changes meanwhile is read again
	cert, err := tls.LoadX509KeyPair(f.files.CertFile, f.files.KeyFile)
	if err != nil {
		return nil, fmt.Errorf("cert_file %s with key_file %s: %w", f.files.CertFile, f.files.KeyFile, err)
	}
	c := &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{cert}, NextProtos: []string{"http/1.1"}}
	if f.files.ClientCAFile != "" {
		pem, err := os.ReadFile(f.files.ClientCAFile)
		if err != nil {
			return nil, fmt.Errorf("client_ca_file: %w", err)
		}
		c.ClientCAs = x509.NewCertPool()
		if !c.ClientCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("client_ca_file %s: no certificate in PEM found", f.files.ClientCAFile)
		}
		c.ClientAuth = tls.VerifyClientCertIfGiven
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.config, f.stamps = c, stamps
	return c, nil
}
