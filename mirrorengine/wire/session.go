package wire

import (
	"errors"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// Versions of Fetch: v4 brought the record batches and committed reads, v7
// sessions, from v13 on topics go by id (FetchRequest.json). Later ones add
// nothing for consumers.
const (
	fetchLow      = 4
	fetchSessions = 7
	fetchIDs      = 13
	fetchHigh     = 17
)

// Partition names what is fetched.
type Partition struct {
	Topic string
	Index int32
}

// Session is a fetch session (KIP-227): the broker remembers the partitions, so
// that a request names only those that changed since the one before, and an
// answer only those with news. It costs what moves, not what is idle. A session
// is for one goroutine, with one request under way at a time.
//
// Every partition has an owner, so that an answer to a request of a former owner
// does not reach the present one, whose position may be another.
type Session struct {
	id, epoch int32 // as the next request has them; epoch 0 lists all partitions
	ids       bool  // topics go by id in this session
	parts     map[Partition]*member
	wanted    int
	nameless  int // wanted without a topic id
	changed   []*member
	names     map[[16]byte]string
}

// member is a partition that is wanted, or that the broker still remembers.
type member struct {
	Partition
	wanted bool
	want   place
	told   place // what the broker knows; told.owner nil: nothing
	marked bool  // stands in changed
}

type place struct {
	owner    any
	id       [16]byte
	offset   int64
	maxBytes int32
}

// NewSession is empty and not yet begun with a broker.
func NewSession() *Session {
	return &Session{parts: map[Partition]*member{}, names: map[[16]byte]string{}}
}

// Wanted is the number of partitions to fetch.
func (s *Session) Wanted() int { return s.wanted }

// Want fetches a partition from offset on, at most about maxBytes at a time,
// for owner, which must be comparable and not nil.
func (s *Session) Want(p Partition, id [16]byte, offset int64, maxBytes int32, owner any) {
	m := s.parts[p]
	if m == nil {
		m = &member{Partition: p}
		s.parts[p] = m
	}
	if m.wanted {
		s.count(m, -1)
	}
	m.wanted = true
	if m.told.owner != nil && m.told.id != id {
		s.Reset() // a topic made anew; forgetting and adding the same name in one request would forget it
	}
	m.want = place{owner, id, offset, maxBytes}
	s.count(m, 1)
	s.mark(m)
}

// Forget fetches a partition no more, unless it has another owner by now.
func (s *Session) Forget(p Partition, owner any) {
	m := s.parts[p]
	if m == nil || !m.wanted || m.want.owner != owner {
		return
	}
	m.wanted = false
	s.count(m, -1)
	s.mark(m)
}

// count notes that a partition is wanted (1) or not any more (-1).
func (s *Session) count(m *member, n int) {
	s.wanted += n
	if m.want.id == [16]byte{} {
		s.nameless += n
	}
}

func (s *Session) mark(m *member) {
	if !m.marked {
		m.marked = true
		s.changed = append(s.changed, m)
	}
}

// Reset begins anew with the next request, which ends the present session.
func (s *Session) Reset() { s.epoch = 0 }

// Version is the one to fetch by on a connection.
func (s *Session) Version(c *Conn) (int16, error) {
	high := int16(fetchHigh)
	if s.nameless > 0 {
		high = fetchIDs - 1
	}
	return c.Version(keyFetch, fetchLow, high)
}

// Fill completes a request with the session and the partitions to name; the
// request's version is set.
func (s *Session) Fill(req *kmsg.FetchRequest) {
	ids := req.Version >= fetchIDs
	if s.ids != ids {
		s.Reset() // a session goes by names or by ids
	}
	s.ids = ids
	req.SessionID, req.SessionEpoch = s.id, s.epoch
	if req.Version < fetchSessions {
		s.epoch, req.SessionEpoch = 0, -1
	}
	if s.epoch == 0 {
		s.all(req)
		return
	}
	f := filler{req: req, topics: map[string]int{}}
	forgotten := map[string]int{}
	for _, m := range s.changed {
		m.marked = false
		switch {
		case m.wanted && m.told != m.want:
			f.add(m)
		case !m.wanted && m.told.owner != nil:
			i, ok := forgotten[m.Topic]
			if !ok {
				t := kmsg.NewFetchRequestForgottenTopic()
				t.Topic, t.TopicID = m.Topic, m.told.id
				i = len(req.ForgottenTopics)
				req.ForgottenTopics = append(req.ForgottenTopics, t)
				forgotten[m.Topic] = i
			}
			req.ForgottenTopics[i].Partitions = append(req.ForgottenTopics[i].Partitions, m.Index)
			m.told = place{}
		}
		if m.wanted {
			m.told = m.want
			s.names[m.told.id] = m.Topic
		} else {
			delete(s.parts, m.Partition)
		}
	}
	s.changed = s.changed[:0]
}

// all lists every wanted partition and forgets the others.
func (s *Session) all(req *kmsg.FetchRequest) {
	f := filler{req: req, topics: map[string]int{}}
	s.changed = s.changed[:0]
	clear(s.names)
	for key, m := range s.parts {
		m.marked = false
		if !m.wanted {
			delete(s.parts, key)
			continue
		}
		f.add(m)
		m.told = m.want
		s.names[m.told.id] = m.Topic
	}
}

// filler puts partitions under their topics.
type filler struct {
	req    *kmsg.FetchRequest
	topics map[string]int
}

func (f *filler) add(m *member) {
	i, ok := f.topics[m.Topic]
	if !ok {
		t := kmsg.NewFetchRequestTopic()
		t.Topic, t.TopicID = m.Topic, m.want.id
		i = len(f.req.Topics)
		f.req.Topics = append(f.req.Topics, t)
		f.topics[m.Topic] = i
	}
	p := kmsg.NewFetchRequestTopicPartition()
	p.Partition, p.CurrentLeaderEpoch = m.Index, -1
	p.FetchOffset, p.PartitionMaxBytes = m.want.offset, m.want.maxBytes
	f.req.Topics[i].Partitions = append(f.req.Topics[i].Partitions, p)
}

// Took takes over what an answer says of the session. An error of the whole
// request is returned; ErrAgain then means that the next request, which names
// all partitions, will do.
func (s *Session) Took(res *kmsg.FetchResponse) error {
	err := kerr.ErrorForCode(res.ErrorCode)
	switch {
	case err == nil && s.epoch == 0:
		// A broker without room for a session answers with id 0 and remembers nothing.
		if s.id = res.SessionID; s.id != 0 {
			s.epoch = 1
		}
	case err == nil:
		if s.epoch++; s.epoch < 0 { // FetchMetadata.nextEpoch
			s.epoch = 1
		}
	case errors.Is(err, kerr.FetchSessionIDNotFound):
		s.id, s.epoch = 0, 0 // evicted; there is none to end
		return ErrAgain
	case errors.Is(err, kerr.InvalidFetchSessionEpoch), errors.Is(err, kerr.FetchSessionTopicIDError):
		s.Reset()
		return ErrAgain
	default:
		s.Reset()
	}
	return err
}

// ErrAgain says that the broker has lost the session; the next request begins a
// new one.
var ErrAgain = errors.New("the broker's fetch session is gone")

// Name is the topic of an answer, which has its id only from v13 on.
func (s *Session) Name(t *kmsg.FetchResponseTopic) string {
	if t.Topic != "" {
		return t.Topic
	}
	return s.names[t.TopicID]
}

// Owner is whom an answer for a partition is for, nil if it is for nobody any
// more: the position that was asked for is not the one that is wanted now.
func (s *Session) Owner(p Partition) any {
	if m := s.parts[p]; m != nil && m.wanted && m.told == m.want {
		return m.told.owner
	}
	return nil
}
