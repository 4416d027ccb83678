// Program control is a tailnet's control server, DERP relay and STUN server for tests, all of them
// on loopback, or at the address that is its argument.
//
// It prints one line of JSON, {"url": "http://127.0.0.1:PORT"}, and ends when its standard input
// does. Lines that it reads change what the nodes are told, and are each answered by a line:
//
//	ingress on|off   whether relays may bring the nodes connections of Funnel (cap/ingress)
//	packets on|off   whether the nodes take any packet from each other
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"log"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"tailscale.com/tailcfg"
	"tailscale.com/tstest/integration"
	"tailscale.com/tstest/integration/testcontrol"
	"tailscale.com/types/logger"
)

const domain = "tail-scale.ts.net"

// forNobody is a filter of one rule that nobody fits: none at all would mean "as before".
var forNobody = []tailcfg.FilterRule{{
	SrcIPs:   []string{"192.0.2.1/32"},
	DstPorts: []tailcfg.NetPortRange{{IP: "192.0.2.1/32", Ports: tailcfg.PortRangeAny}},
}}

func main() {
	address := "127.0.0.1"
	if len(os.Args) > 1 {
		address = os.Args[1]
	}
	listener, err := net.Listen("tcp", net.JoinHostPort(address, "0"))
	if err != nil {
		log.Fatal(err)
	}
	url := "http://" + listener.Addr().String()
	tailnet := &tailnet{changed: make(chan struct{}), off: map[string]bool{}}
	tailnet.server = &testcontrol.Server{
		Logf:            logger.Discard,
		DERPMap:         integration.RunDERPAndSTUN(&outsideTest{}, logger.Discard, address),
		DNSConfig:       &tailcfg.DNSConfig{Proxied: true},
		MagicDNSDomain:  domain,
		ExplicitBaseURL: url,
		AltMapStream:    tailnet.stream,
		// As of a tailnet whose owner allowed HTTPS and Funnel. Where they are missing, the CLI asks
		// for a way to allow them, and this control server ends at a question that it does not know.
		DefaultNodeCapabilities: &tailcfg.NodeCapMap{
			tailcfg.CapabilityHTTPS:                                 nil,
			tailcfg.NodeAttrFunnel:                                  nil,
			tailcfg.CapabilityFunnelPorts + "?ports=443,8443,10000": nil,
		},
	}
	go func() { log.Fatal(http.Serve(listener, tailnet.server)) }()
	say(map[string]string{"url": url})

	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		what, state, _ := strings.Cut(lines.Text(), " ")
		if (what != "ingress" && what != "packets") || (state != "on" && state != "off") {
			say(map[string]string{"error": "there is no command " + lines.Text()})
			continue
		}
		tailnet.change(func() { tailnet.off[what] = state == "off" })
		say(map[string]string{"did": lines.Text()})
	}
}

func say(value any) {
	if err := json.NewEncoder(os.Stdout).Encode(value); err != nil {
		log.Fatal(err)
	}
}

// tailnet tells the nodes of each other, and anew whenever something changed.
type tailnet struct {
	server *testcontrol.Server

	mu      sync.Mutex
	off     map[string]bool
	changed chan struct{} // closed by the next change
}

func (t *tailnet) change(do func()) {
	t.mu.Lock()
	defer t.mu.Unlock()
	do()
	close(t.changed)
	t.changed = make(chan struct{})
}

// stream is a testcontrol.AltMapStreamFunc: testcontrol's own cannot change a filter while it runs.
func (t *tailnet) stream(ctx context.Context, writer testcontrol.MapStreamWriter, request *tailcfg.MapRequest) {
	if !request.Stream {
		t.receive(request)
		_ = writer.SendMapMessage(&tailcfg.MapResponse{})
		return
	}
	for {
		t.mu.Lock()
		changed, noIngress, noPackets := t.changed, t.off["ingress"], t.off["packets"]
		t.mu.Unlock()
		response, err := t.server.MapResponse(request)
		if err != nil || response == nil {
			return
		}
		if noIngress {
			withoutIngress(response)
		}
		if noPackets {
			response.PacketFilter = forNobody
		}
		if writer.SendMapMessage(response) != nil || !t.keepAlive(ctx, writer, changed) {
			return
		}
	}
}

// receive notes what a node says of itself.
func (t *tailnet) receive(request *tailcfg.MapRequest) {
	node := t.server.Node(request.NodeKey)
	if node == nil || request.ReadOnly {
		return
	}
	node.Endpoints, node.DiscoKey, node.Cap = request.Endpoints, request.DiscoKey, request.Version
	if request.Hostinfo != nil {
		node.Hostinfo = request.Hostinfo.View()
		if network := node.Hostinfo.NetInfo(); network.Valid() && network.PreferredDERP() != 0 {
			node.HomeDERP = network.PreferredDERP()
		}
	}
	t.change(func() { t.server.UpdateNode(node) })
}

// keepAlive waits for the next change. A node that hears nothing for two minutes connects anew.
func (t *tailnet) keepAlive(ctx context.Context, writer testcontrol.MapStreamWriter, changed <-chan struct{}) bool {
	ticker := time.NewTicker(30 * time.Second)
	defer ticker.Stop()
	for {
		select {
		case <-changed:
			return true
		case <-ctx.Done():
			return false
		case <-ticker.C:
			if writer.SendMapMessage(&tailcfg.MapResponse{KeepAlive: true}) != nil {
				return false
			}
		}
	}
}

func withoutIngress(response *tailcfg.MapResponse) {
	for _, rule := range response.PacketFilter {
		for index := range rule.CapGrant {
			rule.CapGrant[index].Caps = slices.DeleteFunc(rule.CapGrant[index].Caps,
				func(each tailcfg.PeerCapability) bool { return each == tailcfg.PeerCapabilityIngress })
		}
	}
}

// outsideTest is a testing.TB for what wants one where no test runs: complaints end the program.
type outsideTest struct{ testing.TB }

func (*outsideTest) Cleanup(func())                      {}
func (*outsideTest) Helper()                             {}
func (*outsideTest) Log(...any)                          {}
func (*outsideTest) Logf(string, ...any)                 {}
func (*outsideTest) Error(values ...any)                 { log.Fatal(values...) }
func (*outsideTest) Errorf(format string, values ...any) { log.Fatalf(format, values...) }
func (*outsideTest) Fatal(values ...any)                 { log.Fatal(values...) }
func (*outsideTest) Fatalf(format string, values ...any) { log.Fatalf(format, values...) }
