package measure

import (
	"bufio"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
	"time"
)

// tick is the unit of CPU time in /proc: USER_HZ is 100 on every Linux that Go runs on.
const tick = 10 * time.Millisecond

// ProcessCPU is the CPU time that a process has used so far, in user and kernel mode, with its ended children's.
func ProcessCPU(pid int) (time.Duration, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, fmt.Errorf("CPU time of process %d: %w", pid, err)
	}
	return parseProcessCPU(string(text))
}

// parseProcessCPU reads /proc/PID/stat (proc_pid_stat(5)): fields 14 to 17 are utime, stime, cutime, cstime.
func parseProcessCPU(stat string) (time.Duration, error) {
	// The name, field 2, may hold anything, brackets and blanks too: the last bracket ends it.
	_, rest, found := cutLast(stat, ")")
	fields := strings.Fields(rest)
	if !found || len(fields) < 15 {
		return 0, fmt.Errorf("%q is no /proc/PID/stat", stat)
	}
	var ticks int64
	for _, field := range fields[11:15] {
		n, err := strconv.ParseInt(field, 10, 64)
		if err != nil {
			return 0, fmt.Errorf("/proc/PID/stat: %w", err)
		}
		ticks += n
	}
	return time.Duration(ticks) * tick, nil
}

func cutLast(s, sep string) (before, after string, found bool) {
	if i := strings.LastIndex(s, sep); i >= 0 {
		return s[:i], s[i+len(sep):], true
	}
	return s, "", false
}

// ResetPeakRSS makes the peak of a process's memory start again from what it holds now.
func ResetPeakRSS(pid int) error {
	return os.WriteFile(fmt.Sprintf("/proc/%d/clear_refs", pid), []byte("5"), 0) // proc_pid_clear_refs(5)
}

// PeakRSS is the most memory that a process has held at a time, in bytes.
func PeakRSS(pid int) (int64, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, fmt.Errorf("peak memory of process %d: %w", pid, err)
	}
	return parsePeakRSS(string(text))
}

func parsePeakRSS(status string) (int64, error) {
	for line := range strings.Lines(status) {
		if rest, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			kib, err := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(rest), " kB"), 10, 64)
			if err != nil {
				return 0, fmt.Errorf("VmHWM in /proc/PID/status: %w", err)
			}
			return kib << 10, nil
		}
	}
	return 0, fmt.Errorf("no VmHWM in /proc/PID/status: the process has ended")
}

// System is CPU time of the whole machine since it started, of all its cores.
type System struct {
	// Busy is all that is neither idle, nor waiting for a disk, nor stolen.
	Busy time.Duration
	// Steal is time that the hypervisor gave to other guests.
	Steal time.Duration
}

// SystemCPU reads the machine's CPU time.
func SystemCPU() (System, error) {
	text, err := os.ReadFile("/proc/stat")
	if err != nil {
		return System{}, fmt.Errorf("CPU time of the machine: %w", err)
	}
	return parseSystem(string(text))
}

// parseSystem reads the first line of /proc/stat (proc_stat(5)): user, nice, system, idle, iowait, irq, softirq, steal,
// and guest times, which are in user and nice already.
func parseSystem(stat string) (System, error) {
	line, _, _ := strings.Cut(stat, "\n")
	fields := strings.Fields(line)
	if len(fields) < 9 || fields[0] != "cpu" {
		return System{}, fmt.Errorf("%q is no first line of /proc/stat", line)
	}
	var ticks [8]time.Duration
	for i := range ticks {
		n, err := strconv.ParseInt(fields[1+i], 10, 64)
		if err != nil {
			return System{}, fmt.Errorf("/proc/stat: %w", err)
		}
		ticks[i] = time.Duration(n) * tick
	}
	return System{Busy: ticks[0] + ticks[1] + ticks[2] + ticks[5] + ticks[6], Steal: ticks[7]}, nil
}

// CPUModel is the processor's name, empty if the system does not say.
func CPUModel() string {
	f, err := os.Open("/proc/cpuinfo")
	if err != nil {
		return ""
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if name, value, ok := strings.Cut(lines.Text(), ":"); ok && strings.TrimSpace(name) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

// LoadAverage is the machine's, over one minute; 0 if the system does not say.
func LoadAverage() float64 {
	text, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return 0
	}
	one, _, _ := strings.Cut(string(text), " ")
	load, err := strconv.ParseFloat(one, 64)
	if err != nil {
		return 0
	}
	return load
}

// LoadBetween is what the machine did between two moments, of which ours was done by the processes of the race.
func LoadBetween(from, to System, ours, elapsed time.Duration) Load {
	return loadBetween(from, to, ours, elapsed, runtime.NumCPU())
}

func loadBetween(from, to System, ours, elapsed time.Duration, cores int) Load {
	all := elapsed.Seconds() * float64(cores)
	return Load{
		Busy: (to.Busy - from.Busy).Seconds() / all,
		// The clocks tick apart: a little less than nothing is nothing.
		Others: max(0, (to.Busy-from.Busy-ours).Seconds()/all),
		Steal:  (to.Steal - from.Steal).Seconds() / all,
	}
}
