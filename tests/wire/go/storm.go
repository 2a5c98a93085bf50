package main

import (
	"encoding/json"
	"errors"
	"os"
	"os/signal"
	"strconv"
	"syscall"
	"time"

	hatchet "github.com/hatchet-dev/hatchet/sdks/go"
)

type Job struct {
	Number   int     `json:"number"`
	FailOnce bool    `json:"fail_once"`
	Seconds  float64 `json:"seconds"`
}

type Done struct {
	Number  int `json:"number"`
	Attempt int `json:"attempt"`
}

// storm is a worker that notes each start of a task in the file NOTES, as tests/faults/sdk_worker.py does.
// Tasks are told by their input what to do: fail once, or take some time.
func storm(client *hatchet.Client) error {
	notes, err := os.OpenFile(os.Getenv("NOTES"), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	slots, err := strconv.Atoi(os.Getenv("SLOTS"))
	if err != nil {
		return err
	}
	task := client.NewStandaloneTask("storm", func(ctx hatchet.Context, job Job) (Done, error) {
		attempt := ctx.RetryCount()
		line, err := json.Marshal(map[string]any{
			"task": ctx.StepRunId(), "attempt": attempt, "worker": ctx.Worker().ID(),
		})
		if err != nil {
			return Done{}, err
		}
		// A single write, so that a kill leaves no half of it.
		if _, err := notes.Write(append(line, '\n')); err != nil {
			return Done{}, err
		}
		time.Sleep(time.Duration(job.Seconds * float64(time.Second)))
		if job.FailOnce && attempt == 0 {
			return Done{}, errors.New("fails once, as it was told")
		}
		return Done{Number: job.Number, Attempt: attempt}, nil
	}, hatchet.WithRetries(3), hatchet.WithExecutionTimeout(10*time.Second))
	worker, err := client.NewWorker(os.Getenv("WORKER_NAME"), hatchet.WithWorkflows(task), hatchet.WithSlots(slots))
	if err != nil {
		return err
	}
	stop, err := worker.Start()
	if err != nil {
		return err
	}
	ended := make(chan os.Signal, 1)
	signal.Notify(ended, syscall.SIGTERM)
	<-ended
	return stop()
}
