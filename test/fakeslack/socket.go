package fakeslack

import (
	"encoding/json"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/gorilla/websocket"
)

// socket is a connection of Socket Mode.
type socket struct {
	conn *websocket.Conn
	wmu  sync.Mutex // writes are one at a time

	mu   sync.Mutex // guards acks
	acks map[string]chan json.RawMessage
}

// openSocket makes the address of a new connection.
func (s *Slack) openSocket() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return fmt.Sprintf("ws://%s/socket/%d", s.served.Addr(), s.next())
}

func (s *Slack) connect(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	down := s.down
	s.mu.Unlock()
	if down {
		http.Error(w, "down", http.StatusServiceUnavailable)
		return
	}
	up := websocket.Upgrader{CheckOrigin: func(*http.Request) bool { return true }}
	conn, err := up.Upgrade(w, r, nil)
	if err != nil {
		s.fault("socket: %v", err)
		return
	}
	k := &socket{conn: conn, acks: map[string]chan json.RawMessage{}}
	if err := k.write(map[string]any{"type": "hello", "num_connections": 1, "connection_info": map[string]any{"app_id": "A0FAKE"}, "debug_info": map[string]any{"host": "fake"}}); err != nil {
		return
	}
	s.mu.Lock()
	s.sockets = append(s.sockets, k)
	s.mu.Unlock()
	gone := make(chan struct{})
	go k.ping(gone)
	s.read(k)
	close(gone)
}

// read takes acknowledgements until the connection ends.
func (s *Slack) read(k *socket) {
	defer k.conn.Close()
	for {
		_, raw, err := k.conn.ReadMessage()
		if err != nil {
			s.mu.Lock()
			for i, o := range s.sockets {
				if o == k {
					s.sockets = append(s.sockets[:i:i], s.sockets[i+1:]...)
					break
				}
			}
			s.mu.Unlock()
			return
		}
		var ack struct {
			ID      string          `json:"envelope_id"`
			Payload json.RawMessage `json:"payload"`
		}
		if err := json.Unmarshal(raw, &ack); err != nil || ack.ID == "" {
			s.fault("socket: no acknowledgement: %s", raw)
			continue
		}
		k.mu.Lock()
		wait := k.acks[ack.ID]
		k.mu.Unlock()
		select {
		case wait <- ack.Payload:
		default: // nobody waits, or not for so many
		}
	}
}

func (k *socket) write(v any) error {
	k.wmu.Lock()
	defer k.wmu.Unlock()
	return k.conn.WriteJSON(v)
}

// ping until gone: an app that hears none gives its connection up.
func (k *socket) ping(gone chan struct{}) {
	tick := time.NewTicker(5 * time.Second)
	defer tick.Stop()
	for {
		select {
		case <-gone:
			return
		case <-tick.C:
			if k.conn.WriteControl(websocket.PingMessage, []byte("ping"), time.Now().Add(time.Second)) != nil {
				return // its reader notices
			}
		}
	}
}

// cut ends all connections, as Slack does every few hours.
func (s *Slack) cut() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, k := range s.sockets {
		_ = k.conn.Close() // its reader notices
	}
}

// Connected reports whether an app listens.
func (s *Slack) Connected() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.sockets) > 0
}

// envelope sends a payload over the youngest connection and returns its acknowledgement's payload: of one that is sent twice
// the second's, since the first was lost.
func (s *Slack) envelope(kind string, payload any) (json.RawMessage, error) {
	s.mu.Lock()
	if len(s.sockets) == 0 {
		s.mu.Unlock()
		return nil, fmt.Errorf("no app listens: Slack tells the user that %s did not work", kind)
	}
	k := s.sockets[len(s.sockets)-1]
	id := fmt.Sprintf("E%d", s.next())
	times := 1
	if s.twice {
		times = 2
	}
	s.mu.Unlock()
	wait := make(chan json.RawMessage, times)
	k.mu.Lock()
	k.acks[id] = wait
	k.mu.Unlock()
	defer func() {
		k.mu.Lock()
		defer k.mu.Unlock()
		delete(k.acks, id)
	}()
	for range times {
		if err := k.write(map[string]any{"envelope_id": id, "type": kind, "accepts_response_payload": true, "payload": payload}); err != nil {
			return nil, err
		}
	}
	late := time.After(s.Patience)
	for {
		select {
		case ack := <-wait:
			if times--; times == 0 {
				return ack, nil
			}
		case <-late:
			s.fault("%s was not acknowledged in %s: the user sees a failure", kind, s.Patience)
			return nil, fmt.Errorf("%s: not acknowledged", kind)
		}
	}
}
