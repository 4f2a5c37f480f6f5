# The test programs. Included by Makefile; everything is made below build/test/.
#
#   tests/unit/test_X.c    build/test/unit/test_X    clang, ASan and UBSan, libcheck, proto and host
#   tests/ns/test_X.c      build/test/ns/test_X      gcc, libcheck, proto, and the other files of tests/ns
#   tests/fuzz/fuzz_X.c    build/test/fuzz/fuzz_X    the same objects, libFuzzer, proto; host with "links: host" in its
#                                                    head, initd upon doubles with "links: initd"
#   tests/guest/X.c        build/test/guest/X        static, musl
#   tests/inside/X.c       build/test/inside/X       static, with the host's own confinement, to be run in a guest
#   tests/tools/X.c        build/test/tools/X        gcc, proto
#   tests/bench/X.c        build/test/bench/X        gcc, proto and host
#
# A unit test with "also: threads" in its head is built a second time, with the thread sanitizer.
# tests/unit/test_proto_X.c is linked without the host, so that the protocol is tested on its own.

T := $(B)/test

UNIT_SRC := $(wildcard tests/unit/test_*.c)
NS_SRC := $(wildcard tests/ns/test_*.c)
NS_LIB_SRC := $(filter-out $(NS_SRC),$(wildcard tests/ns/*.c))
FUZZ_SRC := $(wildcard tests/fuzz/fuzz_*.c)
GUEST_SRC := $(wildcard tests/guest/*.c)
INSIDE_SRC := $(wildcard tests/inside/*.c)
TOOL_SRC := $(wildcard tests/tools/*.c)

UNIT_BIN := $(UNIT_SRC:tests/%.c=$(T)/%)
NS_BIN := $(NS_SRC:tests/%.c=$(T)/%)
FUZZ_BIN := $(FUZZ_SRC:tests/%.c=$(T)/%)
GUEST_BIN := $(GUEST_SRC:tests/%.c=$(T)/%)
INSIDE_BIN := $(INSIDE_SRC:tests/%.c=$(T)/%)
TOOL_BIN := $(TOOL_SRC:tests/%.c=$(T)/%)
BENCH_BIN := $(patsubst tests/%.c,$(T)/%,$(wildcard tests/bench/*.c))
THREADS_BIN := $(patsubst tests/unit/%.c,$(T)/threads/%,$(if $(UNIT_SRC),$(shell grep -l '/[*] also: threads [*]/' $(UNIT_SRC))))

UNIT_PROTO_BIN := $(filter $(T)/unit/test_proto_%,$(UNIT_BIN))
UNIT_HOST_BIN := $(filter-out $(UNIT_PROTO_BIN),$(UNIT_BIN))
FUZZ_HOST_BIN := $(patsubst tests/%.c,$(T)/%,$(if $(FUZZ_SRC),$(shell grep -l '/[*] links: host [*]/' $(FUZZ_SRC))))
FUZZ_INITD_BIN := $(patsubst tests/%.c,$(T)/%,$(if $(FUZZ_SRC),$(shell grep -l '/[*] links: initd [*]/' $(FUZZ_SRC))))
FUZZ_PROTO_BIN := $(filter-out $(FUZZ_HOST_BIN) $(FUZZ_INITD_BIN),$(FUZZ_BIN))

# Only where they are used, so that a plain `make` needs none of it.
CHECK_CFLAGS = $(shell pkg-config --cflags check)
CHECK_LIBS = $(shell pkg-config --libs check)
TEST_CFLAGS := -Itests

.PHONY: sanitized-objects test-programs unit-programs ns-programs fuzz-programs guest-programs tool-programs bench-programs golden print-lint-flags
test-programs: unit-programs ns-programs fuzz-programs guest-programs tool-programs $(T)/bench/pool
unit-programs: $(UNIT_BIN) $(THREADS_BIN)
bench-programs: $(BENCH_BIN)
ns-programs: $(NS_BIN)
fuzz-programs: $(FUZZ_BIN)
guest-programs: $(GUEST_BIN) $(INSIDE_BIN)
tool-programs: $(TOOL_BIN)

# ---- unit and fuzz: one set of sanitized objects ----------------------------------------------------

SANITIZE := -fsanitize=address,undefined -fno-sanitize-recover=all
# What fuzzers run millions of times is optimised; of the rest half of a compiler's time would go into that.
SAN_OPTIMIZE := -O0
FUZZED := proto initd host/api host/base host/broker host/egress host/guest host/image host/oci host/service tests/fuzz
$(FUZZED:%=$(T)/san/%/%.o): SAN_OPTIMIZE := -O1
SAN_FLAGS = $(SANITIZE) -fsanitize=fuzzer-no-link -fno-omit-frame-pointer $(SAN_OPTIMIZE) -g
SAN_COMPILE = $(FUZZ_CC) $(CFLAGS_ALL) $(HOST_CFLAGS) $(TEST_CFLAGS) $(CHECK_CFLAGS) $(SAN_FLAGS)
SAN_PROTO := $(PROTO_SRC:%.c=$(T)/san/%.o)
SAN_HOST := $(HOST_LIB_SRC:%.c=$(T)/san/%.o)

$(T)/san/%.o: %.c tests/tests.mk
	$(call say,CC san,$<)
	@mkdir -p $(@D)
	$(Q)$(CCACHE) $(SAN_COMPILE) -c -o $@ $<

sanitized-objects: $(SAN_PROTO) $(SAN_HOST)

# An archive: a test that defines a function of the host itself, as a double, gets its own. Beside each test lies a list of
# what it was linked of, for tests/quick.
$(T)/san/host.a: $(SAN_HOST) $(API_ASSETS_OBJ)
	$(call say,AR,$@)
	@mkdir -p $(@D)
	$(Q)rm -f $@
	$(Q)ar rcsT $@ $^

$(UNIT_PROTO_BIN): $(T)/%: $(T)/san/tests/%.o $(SAN_PROTO)
	$(call say,LD,$@)
	@mkdir -p $(@D)
	$(Q)$(FUZZ_CC) $(SANITIZE) $(LDFLAGS) -Wl,--trace -o $@ $^ $(CHECK_LIBS) >$@.links

$(UNIT_HOST_BIN): $(T)/%: $(T)/san/tests/%.o $(T)/san/host.a $(SAN_PROTO)
	$(call say,LD,$@)
	@mkdir -p $(@D)
	$(Q)$(FUZZ_CC) $(SANITIZE) $(LDFLAGS) -Wl,--trace -o $@ $^ $(IMPORT_LIBS) $(CHECK_LIBS) >$@.links

# The thread sanitizer and the others exclude each other.
THREADS_HOST := $(filter-out host/cli/% host/oci/% host/api/% host/server/server.c host/server/listen.c,$(HOST_LIB_SRC))

$(T)/threads/obj/%.o: %.c tests/tests.mk
	$(call say,CC threads,$<)
	@mkdir -p $(@D)
	$(Q)$(CCACHE) $(CC) $(CFLAGS_ALL) $(HOST_CFLAGS) $(TEST_CFLAGS) $(CHECK_CFLAGS) -fsanitize=thread -O1 -g -c -o $@ $<

# An archive, as host.a above.
$(T)/threads/host.a: $(THREADS_HOST:%.c=$(T)/threads/obj/%.o)
	$(call say,AR,$@)
	@mkdir -p $(@D)
	$(Q)rm -f $@
	$(Q)ar rcsT $@ $^

$(THREADS_BIN): $(T)/threads/%: $(T)/threads/obj/tests/unit/%.o $(T)/threads/host.a \
		$(PROTO_SRC:%.c=$(T)/threads/obj/%.o)
	$(call say,LD,$@)
	$(Q)$(CC) -fsanitize=thread $(LDFLAGS) -o $@ $^ $(HOST_LIBS) $(CHECK_LIBS)

# ---- ns and tools: plain objects ------------------------------------------------------------------

# No sanitizers: these tests clone into namespaces, where the leak checker cannot work.
PLAIN_COMPILE = $(CC) $(CFLAGS_ALL) $(TEST_CFLAGS) $(CHECK_CFLAGS) $(CFLAGS)
$(T)/obj/%.o: %.c tests/tests.mk
	$(call say,CC,$<)
	@mkdir -p $(@D)
	$(Q)$(CCACHE) $(PLAIN_COMPILE) -c -o $@ $<

# Of initd's own functions.
$(T)/ns/test_layers: $(addprefix $(T)/obj/initd/,layers.o entries.o sys.o text.o)

$(NS_BIN): $(T)/%: $(T)/obj/tests/%.o $(NS_LIB_SRC:%.c=$(T)/obj/%.o) $(PROTO_OBJ)
	$(call say,LD,$@)
	@mkdir -p $(@D)
	$(Q)$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $^ $(CHECK_LIBS)

BENCH_HOST := $(filter-out host/api/% host/server/server.c host/server/listen.c host/cli/verb_api.c,$(HOST_LIB_SRC))
$(BENCH_BIN): $(T)/%: tests/%.c $(BENCH_HOST:%.c=$(B)/obj/%.o) $(PROTO_OBJ) tests/tests.mk
	$(call say,LD,$@)
	@mkdir -p $(@D)
	$(Q)$(CC) $(CFLAGS_ALL) $(HOST_CFLAGS) $(CFLAGS) $(LDFLAGS) -MF $@.d -o $@ $(filter %.c %.o,$^) $(IMPORT_LIBS)

$(TOOL_BIN): $(T)/%: $(T)/obj/tests/%.o $(PROTO_OBJ)
	$(call say,LD,$@)
	@mkdir -p $(@D)
	$(Q)$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $^

INSIDE_HOST := $(filter host/confine/% host/store/cache.c host/store/home.c host/store/trust.c host/base/accounts.c host/base/child.c host/base/deadline.c host/base/error.c \
	host/base/file.c host/base/log.c host/base/text.c,$(HOST_LIB_SRC))
$(INSIDE_BIN): $(T)/%: tests/%.c $(INSIDE_HOST:%.c=$(B)/obj/%.o) tests/tests.mk
	$(call say,LD static,$@)
	@mkdir -p $(@D)
	$(Q)$(CC) $(CFLAGS_ALL) $(HOST_CFLAGS) $(CFLAGS) -static -Wl,--no-warnings $(LDFLAGS) -MF $@.d -o $@ $(filter %.c %.o,$^) -lcrypto

# ---- fuzz -----------------------------------------------------------------------------------------

$(FUZZ_PROTO_BIN): $(T)/%: $(T)/san/tests/%.o $(SAN_PROTO)
$(FUZZ_HOST_BIN): $(T)/%: $(T)/san/tests/%.o $(T)/san/host.a $(SAN_PROTO)
$(FUZZ_HOST_BIN): FUZZ_LIBS = $(IMPORT_LIBS)

# What has doubles in initd_stubs.c is left out, and no system call that could touch this machine is linked.
FUZZ_INITD_SRC := $(filter-out $(addprefix initd/,boot.c cgroup.c cmdline.c layers.c main.c power.c root.c service.c setup.c spare.c spawn.c sys.c),$(INITD_SRC))
FUZZ_INITD := $(FUZZ_INITD_SRC:%.c=$(T)/san/%.o)
FUZZ_INITD_GLOBAL := is_set_up set_up_fault awaits_root is_sealed root_awaited id_place shutdown_asked quiesced quiescing next_id finished_seq

$(FUZZ_INITD): $(T)/san/%.o: %.c tests/fuzz/initd.syms tests/tests.mk
	$(call say,CC san,$<)
	@mkdir -p $(@D)
	$(Q)$(CCACHE) $(FUZZ_CC) $(CFLAGS_ALL) -DINITD_BUILD='"fuzz"' $(SAN_FLAGS) -c -o $@ $<
	$(Q)objcopy --redefine-syms=tests/fuzz/initd.syms $(FUZZ_INITD_GLOBAL:%=--globalize-symbol=%) $@

$(FUZZ_INITD_BIN): $(T)/%: $(T)/san/tests/%.o $(T)/san/tests/fuzz/initd_stubs.o $(FUZZ_INITD) $(SAN_PROTO)

$(FUZZ_BIN):
	$(call say,LD,$@)
	@mkdir -p $(@D)
	$(Q)$(FUZZ_CC) -fsanitize=fuzzer $(SANITIZE) -o $@ $^ $(FUZZ_LIBS)

# ---- images -----------------------------------------------------------------------------------------

# Those that many tests of real guests need are made while there is still something to compile; see need_snapshot in vm/lib.sh,
# which makes what is missing.
TEST_IMAGES := python sh c
.PHONY: test-images
test-images: all
	$(Q)for name in $(TEST_IMAGES); do \
		[ -e $(T)/home/images/names/$$name.json ] || CAPSID_HOME=$(abspath $(T)/home) $(B)/capsid rootfs create --quiet --name $$name >/dev/null || exit 1; \
	done

# ---- guest: payloads that run under initd ---------------------------------------------------------

GUEST_CFLAGS := -Os -g0 -static -s -idirafter $(B)/linux-include
GUEST_COMPILE = $(MUSL_CC) $(CFLAGS_ALL) $(GUEST_CFLAGS)

$(GUEST_BIN): $(T)/%: tests/%.c $(B)/linux-include/.done tests/tests.mk
	$(call say,MUSL,$@)
	@mkdir -p $(@D)
	$(Q)$(GUEST_COMPILE) -o $@ $<

# ---- the protocol's document and vectors ----------------------------------------------------------

# Rewrites the tables and the worked examples of proto/PROTOCOL.md.
protocol-tables: tool-programs
	$(Q)tests/proto-doc write

# Adds the vectors and seeds of new messages. Those that exist are never changed: what is on the wire stays.
golden: tool-programs
	$(Q)$(T)/tools/golden write tests/golden
	$(Q)$(T)/tools/golden seeds tests/fuzz/corpus

# What tests/lint compiles with.
print-lint-flags:
	@printf '%s\n' "WARN='-std=gnu11 -D_GNU_SOURCE $(WARN)'" "PKG_CFLAGS='$(shell pkg-config --cflags $(HOST_PKGS) 2>/dev/null)'" \
		"MUSL_CC='$(MUSL_CC)'" "FUZZ_CC='$(FUZZ_CC)'"

-include $(shell find $(T)/san $(T)/obj $(T)/guest $(T)/inside $(T)/threads $(T)/bench -name '*.d' 2>/dev/null)
