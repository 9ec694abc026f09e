package activities

import (
	"bufio"
	"crypto/tls"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"io"
	"net"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// fakeSMTP is a mail server as RFC 5321 has it, with STARTTLS (RFC 3207) and AUTH
// PLAIN (RFC 4954): strict about order, login before mail, and login over TLS only.
type fakeSMTP struct {
	addr   string
	caFile string
	cert   tls.Certificate

	plain  bool   // it knows no STARTTLS
	direct bool   // TLS from the first byte on
	hangs  bool   // it takes connections and says nothing
	login  string // user and password, "" for nobody asked
	refuse string // the answer to RCPT, in place of 250
	only   string // the address that is refused, "" for all

	mu    sync.Mutex // guards what follows
	mails []string   // envelope, then content
	wrong []string
}

func startSMTP(t *testing.T, f *fakeSMTP) *fakeSMTP {
	t.Helper()
	// httptest has a certificate for 127.0.0.1 to lend.
	lender := httptest.NewUnstartedServer(nil)
	lender.StartTLS()
	f.cert = lender.TLS.Certificates[0]
	f.caFile = filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(f.caFile, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: lender.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	lender.Close()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	f.addr = l.Addr().String()
	var all sync.WaitGroup
	all.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return // closed below
			}
			all.Go(func() { f.serve(conn) })
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		all.Wait() // every client has hung up by itself
	})
	return f
}

func (f *fakeSMTP) serve(conn net.Conn) {
	defer func() { _ = conn.Close() }()
	if f.hangs {
		_, _ = io.Copy(io.Discard, conn) // until the client gives up
		return
	}
	if f.direct {
		conn = tls.Server(conn, &tls.Config{Certificates: []tls.Certificate{f.cert}})
	}
	f.talk(conn, f.direct)
}

func (f *fakeSMTP) fault(format string, args ...any) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.wrong = append(f.wrong, fmt.Sprintf(format, args...))
}

// talk is a conversation, until QUIT or the client's end; behind STARTTLS it begins
// anew.
func (f *fakeSMTP) talk(conn net.Conn, secure bool) {
	in := bufio.NewReader(conn)
	say := func(lines ...string) { _, _ = io.WriteString(conn, strings.Join(lines, "\r\n")+"\r\n") }
	if !secure || f.direct {
		say("220 fake ESMTP")
	}
	greeted, known, envelope := false, f.login == "", ""
	for {
		line, err := in.ReadString('\n')
		if err != nil {
			return
		}
		if strings.HasPrefix(line, "\x16") {
			return // a TLS handshake: no words
		}
		line = strings.TrimRight(line, "\r\n")
		verb, rest, _ := strings.Cut(line, " ")
		switch verb = strings.ToUpper(verb); {
		case verb == "EHLO":
			greeted = true
			lines := []string{"250-fake"}
			if !secure && !f.plain {
				lines = append(lines, "250-STARTTLS")
			}
			if f.login != "" {
				lines = append(lines, "250-AUTH PLAIN")
			}
			say(append(lines, "250 8BITMIME")...)
		case verb == "STARTTLS" && greeted && !secure && !f.plain:
			say("220 go ahead")
			f.talk(tls.Server(conn, &tls.Config{Certificates: []tls.Certificate{f.cert}}), true)
			return
		case verb == "AUTH":
			given, _ := strings.CutPrefix(rest, "PLAIN ")
			raw, _ := base64.StdEncoding.DecodeString(given)
			if !secure {
				f.fault("a password in the clear")
			}
			if known = string(raw) == "\x00"+strings.ReplaceAll(f.login, " ", "\x00"); known {
				say("235 welcome")
			} else {
				say("535 5.7.8 authentication failed for " + given + " " + string(raw[1:])) // a server that talks too much
			}
		case verb == "MAIL" && envelope != "":
			f.fault("%s within a mail", verb)
			say("503 5.5.1 nested MAIL command")
		case verb == "MAIL" && greeted && known:
			envelope = rest
			say("250 ok")
		case verb == "MAIL":
			f.fault("%s before greeting or login", verb)
			say("530 5.7.0 authentication required")
		case verb == "RCPT" && envelope != "":
			if f.refuse != "" && (f.only == "" || strings.Contains(rest, "<"+f.only+">")) {
				say(f.refuse)
				continue
			}
			envelope += " " + rest
			say("250 ok")
		case verb == "DATA" && strings.Contains(envelope, "TO:"):
			say("354 end with a dot")
			f.keep(envelope, in)
			envelope = ""
			say("250 kept")
		case verb == "*": // the client gives up its login
			say("501 cancelled")
		case verb == "RSET":
			envelope = ""
			say("250 ok")
		case verb == "NOOP":
			say("250 ok")
		case verb == "QUIT":
			say("221 bye")
			return
		default:
			f.fault("out of order: %s", line)
			say("503 5.5.1 bad sequence")
		}
	}
}

func (f *fakeSMTP) keep(envelope string, in *bufio.Reader) {
	var b strings.Builder
	for {
		line, err := in.ReadString('\n')
		if err != nil || line == ".\r\n" {
			break
		}
		if !strings.HasSuffix(line, "\r\n") {
			f.fault("a line that does not end in CRLF: %q", line)
		}
		b.WriteString(line)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.mails = append(f.mails, envelope+"\n"+b.String())
}

// reached are the addresses of the mails that were kept, each of which has one.
func (f *fakeSMTP) reached() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	var out []string
	for _, m := range f.mails {
		envelope, _, _ := strings.Cut(m, "\n")
		to, ok := strings.CutPrefix(envelope, "FROM:<dr@example.org> BODY=8BITMIME TO:<")
		if to, _ = strings.CutSuffix(to, ">"); !ok || strings.ContainsAny(to, "<> ") {
			f.wrong = append(f.wrong, "envelope "+envelope)
		}
		out = append(out, to)
	}
	return out
}
