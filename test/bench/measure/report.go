package measure

import "time"

// Mirrors that are measured.
const (
	Engine      = "engine"
	MirrorMaker = "mirrormaker2"
	Plain       = "plain" // a client that polls records and produces them
)

// Report is out/bench-mirror.json. GB are 1e9 bytes, CPU is in seconds of one core.
type Report struct {
	Command  string    `json:"command"`
	Started  time.Time `json:"started"`
	Seconds  float64   `json:"seconds"`
	Quick    bool      `json:"quick"`
	Versions Versions  `json:"versions"`
	Machine  Machine   `json:"machine"`
	Settings Settings  `json:"settings"`
	// Ratios compare medians of the repeats, more is better but for cpu_vs_relay; see [Report.Summarize]. A ratio is absent
	// when its runs were not asked for.
	Ratios map[string]float64 `json:"ratios"`
	// Wanted are the ratios that the project aims at.
	Wanted  map[string]float64 `json:"wanted"`
	CatchUp []CatchUp          `json:"catch_up"`
	Latency []Latency          `json:"latency"`
	Relay   []Relay            `json:"relay"`
}

// Versions of all that took part.
type Versions struct {
	Drawbridge  string `json:"drawbridge"`
	Kafka       string `json:"kafka"`
	MirrorMaker string `json:"mirrormaker"`
	Java        string `json:"java"`
	Go          string `json:"go"`
	System      string `json:"system"`
}

// Machine that everything ran on.
type Machine struct {
	Cores int    `json:"cores"`
	CPU   string `json:"cpu"`
	// LoadAtStart is the load average before anything of ours ran.
	LoadAtStart float64 `json:"load_at_start"`
	// DataOn is "memory" (tmpfs) or "disk".
	DataOn string `json:"data_on"`
	// MostOthers and MostSteal are the highest of all runs: above a few hundredths the figures are not to be trusted.
	MostOthers float64 `json:"most_others"`
	MostSteal  float64 `json:"most_steal"`
}

// Settings that all runs share.
type Settings struct {
	Repeats     int               `json:"repeats"`
	Partitions  int32             `json:"partitions"`
	BrokerJVM   []string          `json:"broker_jvm"`
	MirrorJVM   []string          `json:"mirrormaker_jvm"`
	MirrorMaker map[string]string `json:"mirrormaker_properties"` // of the catch-up; without addresses and logins
	// LatencyPreset differs from MirrorMaker in these.
	LatencyPreset map[string]string `json:"mirrormaker_latency_preset"`
}

// Load is what else the machine did during a run, as shares of all its cores.
type Load struct {
	Busy   float64 `json:"busy"`   // in all
	Others float64 `json:"others"` // by processes that have nothing to do with the run
	Steal  float64 `json:"steal"`  // by other guests of the hypervisor
}

// CPU of the processes that a run needs.
type CPU struct {
	Mirror       float64 `json:"mirror"`
	SourceBroker float64 `json:"source_broker"`
	DestBroker   float64 `json:"destination_broker"`
}

// per divides by an amount.
func (c CPU) per(amount float64) CPU {
	return CPU{c.Mirror / amount, c.SourceBroker / amount, c.DestBroker / amount}
}

// CatchUp is one run over a topic that was loaded before: from the first record seen in the mirror to the last.
type CatchUp struct {
	Case    string `json:"case"`
	Mirror  string `json:"mirror"`
	Repeat  int    `json:"repeat"`
	Records int64  `json:"records"` // in the topic
	Bytes   int64  `json:"bytes"`   // in the topic: keys and values
	// WireBytes is the topic's size at the source, MirrorBytes the mirror's: batches as they are stored.
	WireBytes   int64 `json:"wire_bytes"`
	MirrorBytes int64 `json:"mirror_bytes"`
	BatchBytes  int   `json:"source_batch_bytes"` // of records, before compression
	// Seconds, CPUSeconds are of the Measured share of the topic: what stood in the mirror at the first look is left out. It is
	// 1 where they count from the order to mirror (case tiny).
	Measured     float64 `json:"measured"`
	Seconds      float64 `json:"seconds"`
	CPUSeconds   CPU     `json:"cpu_seconds"`
	MBPerSecond  float64 `json:"mb_per_second"` // of Bytes
	CPUPerGB     CPU     `json:"cpu_per_gb"`    // of Bytes
	CPUPerWireGB CPU     `json:"cpu_per_wire_gb"`
	PeakRSS      int64   `json:"peak_rss_bytes"` // of the mirror
	Load         Load    `json:"load"`
}

// Derive fills the figures that follow from the others.
func (c *CatchUp) Derive() {
	gb := float64(c.Bytes) * c.Measured / 1e9
	c.MBPerSecond = gb * 1e3 / c.Seconds
	c.CPUPerGB = c.CPUSeconds.per(gb)
	c.CPUPerWireGB = c.CPUSeconds.per(float64(c.WireBytes) * c.Measured / 1e9)
}

// Latency is one run at a fixed rate: each record's times count from the moment at which it was to be sent.
type Latency struct {
	Mirror        string  `json:"mirror"`
	Repeat        int     `json:"repeat"`
	RecordsPerSec float64 `json:"records_per_second"`
	MBPerSecond   float64 `json:"mb_per_second"`
	Seconds       float64 `json:"seconds"`
	// Source is until a consumer of the source has it, Mirrored until one of the mirror has it, Added the difference, record by record.
	Source     Quantiles `json:"source"`
	Mirrored   Quantiles `json:"mirrored"`
	Added      Quantiles `json:"added"`
	CPUSeconds CPU       `json:"cpu_seconds"`
	PeakRSS    int64     `json:"peak_rss_bytes"`
	Load       Load      `json:"load"`
}

// Relay is one run of the floor: a process that receives frames, reads each once (CRC) and sends it on.
type Relay struct {
	Repeat     int     `json:"repeat"`
	Bytes      int64   `json:"bytes"`
	FrameBytes int     `json:"frame_bytes"`
	Seconds    float64 `json:"seconds"`
	CPUSeconds float64 `json:"cpu_seconds"`
	CPUPerGB   float64 `json:"cpu_per_gb"`
	Load       Load    `json:"load"`
}
