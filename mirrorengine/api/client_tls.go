package api

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net/http"
	"os"
)

// TLSFiles are what a caller trusts and shows, by PEM files; empty: the system's
// authorities, and no certificate.
type TLSFiles struct {
	CAFile            string
	CertFile, KeyFile string
}

// HTTPClient is for Client.HTTP; nil if there is nothing to trust or show. The
// authorities are read now, the certificate for each connection, so that a renewed
// one is taken up.
func (f TLSFiles) HTTPClient() (*http.Client, error) {
	if f == (TLSFiles{}) {
		return nil, nil
	}
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	if f.CAFile != "" {
		pem, err := os.ReadFile(f.CAFile)
		if err != nil {
			return nil, fmt.Errorf("authorities of the engine: %w", err)
		}
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("authorities of the engine: no certificate in PEM found in %s", f.CAFile)
		}
	}
	if f.CertFile != "" || f.KeyFile != "" {
		load := func() (*tls.Certificate, error) {
			cert, err := tls.LoadX509KeyPair(f.CertFile, f.KeyFile)
			if err != nil {
				return nil, fmt.Errorf("certificate to show to the engine: %w", err)
			}
			return &cert, nil
		}
		if _, err := load(); err != nil {
			return nil, err
		}
		config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return load() }
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.TLSClientConfig = config
	return &http.Client{Transport: transport}, nil
}
