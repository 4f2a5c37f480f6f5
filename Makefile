# Capsid. `make help` lists the targets; V=1 shows the commands.

VERSION := 0.1.0
PREFIX ?= /usr/local
B := build
SHARE := $(B)/share/capsid

# Several at a time, where neither the caller nor a make above says how many. Goals that undo or fetch what others need
# come first.
ifeq ($(MAKELEVEL),0)
ifeq ($(and $(filter clean distclean deps deps-check format,$(MAKECMDGOALS)),$(word 2,$(MAKECMDGOALS))),)
MAKEFLAGS += -j$(shell nproc)
endif
endif

CC ?= gcc
MUSL_CC ?= musl-gcc
FUZZ_CC ?= clang
WARN := -Wall -Wextra -Wconversion -Wshadow -Wvla -Wimplicit-fallthrough -Wmissing-prototypes -Wstrict-prototypes -Werror
CFLAGS ?= -O2 -g
CFLAGS_ALL := -std=gnu11 $(WARN) -D_GNU_SOURCE -Iproto -MMD -MP

# Compiles what it has compiled before from its cache, where it is installed.
CCACHE := $(shell command -v ccache)

V ?= 0
ifeq ($(V),0)
Q := @
say = @printf '  %-8s %s\n' '$(1)' '$(2)'
else
Q :=
say = @:
endif

# What holds the version is compiled anew when it is another one, be it by hand: a file that changes then, and only then.
VERSION_FILE := $(B)/obj/version
$(shell mkdir -p $(B)/obj && printf '%s\n' '$(VERSION)' | cmp -s - $(VERSION_FILE) || printf '%s\n' '$(VERSION)' >$(VERSION_FILE))

# ---- what is built -------------------------------------------------------------------------------

PROTO_SRC := $(wildcard proto/*.c)
INITD_SRC := $(wildcard initd/*.c)
TETHER_SRC := host/firecracker-tether.c host/confine/seal.c
HOST_SRC := $(filter-out host/firecracker-tether.c host/describe.c,$(wildcard host/*.c host/*/*.c))
HOST_LIB_SRC := $(filter-out host/main.c host/import-oci.c host/fetch.c host/capsid-api.c,$(HOST_SRC))
# capsid itself reads no archive and no URL and serves no HTTP, and starts faster without the libraries for them.
CAPSID_SRC := $(filter-out host/import-oci.c host/fetch.c host/oci/% host/capsid-api.c host/api/% host/server/server.c host/server/listen.c host/cli/verb_api.c,$(HOST_SRC))
API_SRC := $(filter-out host/main.c host/import-oci.c host/fetch.c host/oci/%,$(HOST_SRC))
IMPORT_SRC := host/import-oci.c $(wildcard host/oci/*.c host/base/*.c)
FETCH_SRC := host/fetch.c $(wildcard host/base/*.c)
# Runs while the others are built.
DESCRIBE_SRC := host/describe.c $(addprefix host/service/,refusal.c schema.c schema_describe.c) $(wildcard host/base/*.c)

HOST_PKGS := jansson libcrypto libmicrohttpd
HOST_LIBS := -Wl,--as-needed $(shell pkg-config --libs $(HOST_PKGS) 2>/dev/null) -linih
IMPORT_LIBS := $(HOST_LIBS) $(shell pkg-config --libs libarchive 2>/dev/null)
FETCH_LIBS := $(IMPORT_LIBS) $(shell pkg-config --libs libcurl 2>/dev/null)
HOST_CFLAGS := -Ihost -DCAPSID_VERSION='"$(VERSION)"'
HOST_COMPILE = $(CC) $(CFLAGS_ALL) $(HOST_CFLAGS) $(CFLAGS)
PROTO_COMPILE = $(CC) $(CFLAGS_ALL) $(CFLAGS)
INITD_COMPILE = $(MUSL_CC) $(CFLAGS_ALL) $(INITD_CFLAGS)

.PHONY: all help demo check chosen-tests bench lint install clean deps deps-check format kernel protocol-tables \
        distclean share man install-man deb newer-kernel loopback-kernel kvm-kernel check-all quick coverage
all: $(B)/capsid $(B)/initd share

help:
	@printf 'make demo      install what is needed, build everything, run a Python program in a microVM\n'
	@printf 'make check     install what the tests need and run them\n'
	@printf 'make check-all the same, the tests that need a kernel of their own, and the long forms of others\n'
	@printf 'make t=unit/pool   build and run one test, or several: t="unit/pool vm/run"\n'
	@printf 'make           build capsid and initd only\n'
	@printf 'make kernel    build the guest kernel\n'
	@printf 'make check-languages   build every image and run its examples; hours where guests are emulated\n'
	@printf 'make bench     measure; prints medians, spread and ratios\n'
	@printf 'make quick     the tests of what the change at hand can break, in less than a minute\n'
	@printf 'make coverage  which part of each room the tests run\n'
	@printf 'make compile_commands.json   for editors, in %s\n' '$(B)'
	@printf 'make lint      formatting, shell scripts, both compilers, the include rules\n'
	@printf 'make format    rewrite the C files with clang-format\n'
	@printf 'make install   install below PREFIX (%s), honours DESTDIR\n' '$(PREFIX)'
	@printf 'make deb       make a Debian package of what is installed: build/capsid_%s_amd64.deb\n' '$(VERSION)'
	@printf 'make deps      install the Debian packages for building and running (listed in Makefile)\n'
	@printf 'make clean     remove build/ except the kernel cache; make distclean removes all of it\n'

# ---- Debian packages, and why --------------------------------------------------------------------

# A pip that is there already, of another origin than Debian, will do.
PYTHON_PIP := $(if $(shell command -v pip3),,python3-pip      | fetches Python packages of images)

define DEPS
gcc              | the compiler of the host side and the kernel
libc6-dev        | headers of the host side
linux-libc-dev   | kernel headers, also for initd
make             | this file
pkg-config       | finds the libraries
musl-tools       | initd is static against musl
libjansson-dev   | JSON of the CLI, QMP and the stores
libmicrohttpd-dev | HTTP of capsid api
libinih-dev      | configuration and language definitions
libssl-dev       | SHA-256 (libcrypto)
libsqlite3-dev   | records: operations, idempotency keys, images (opened when it is needed)
libcurl4-openssl-dev | speaks HTTP to Firecracker and to servers (opened when it is needed), fetches what capsid setup installs
libarchive-dev   | reads the layers of OCI images
debian-archive-keyring | verifies what comes from Debian's archive: the guest kernel's source, packages of images
xz-utils         | unpacks the kernel's source
lz4              | compresses parts of it
flex             | its configuration tool
bison            | the same
bc               | its time constants
libelf-dev       | its object tool
qemu-system-x86  | the VMM
mmdebstrap       | package trees for images
uidmap           | the same, for ordinary users
mount            | a private view of the tree while an image is made
erofs-utils      | image files
skopeo           | pulls OCI images
perl             | reads npm packages
$(PYTHON_PIP)
endef

# A Go that is there already, of another origin than Debian, will do.
GOLANG := $(if $(shell command -v go),,golang-go          | a client of the guest protocol that shares nothing with the others)

define DEPS_TEST
check              | unit tests
clang              | the second compiler, and the fuzzer
libclang-rt-dev    | sanitizer and fuzzer runtimes
clang-format       | layout
shellcheck         | shell scripts
file               | asserts that initd is static
mandoc             | checks the manual
chromium           | drives the page of the HTTP server
patch              | changes the source of the test kernel for a paravirtual KVM
git                | tells which files are the project's
gpg                | signs the stand-in of Debian's archive on loopback
gpg-agent          | the same
docker-registry    | a registry on loopback in the tests of OCI images
busybox-static     | what those images are made of
e2fsprogs          | ext4 disks in the tests of real guests
python3            | JSON checks in the tests of real guests
python3-jsonschema | answers of the HTTP API against its OpenAPI description
wrk                | requests a second of the HTTP API, in make bench
python3-venv       | a place for schemathesis, which makes up requests to the HTTP API
$(GOLANG)
endef

define DEPS_COVERAGE
gcovr              | which lines the tests run, in make coverage
endef

define DEPS_DEB
build-essential    | Debian's tools take it for granted
debhelper          | makes the package
lintian            | checks it
endef
export DEPS DEPS_TEST DEPS_COVERAGE DEPS_DEB

SUDO := $(if $(filter 0,$(shell id -u)),,sudo)
# Installs what is missing of the list in the variable $(1); the log is $(2).
define install_packages
@mkdir -p $(dir $(2)); missing=; \
for p in $$(printf '%s\n' "$$$(1)" | cut -d '|' -f 1); do \
	dpkg-query -W -f '$${db:Status-Status}' "$$p" 2>/dev/null | grep -qx installed || missing="$$missing $$p"; \
done; \
if [ -n "$$missing" ]; then \
	printf 'Installing Debian packages:%s (log: %s)\n' "$$missing" '$(2)' >&2; \
	{ $(SUDO) apt-get update && \
	  $(SUDO) env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends $$missing; } \
	  >'$(2)' 2>&1 </dev/null || { tail -n 5 '$(2)' >&2; \
	  printf 'Error: package installation failed; see %s. Install by hand:%s\n' '$(2)' "$$missing" >&2; exit 1; }; \
fi
endef

deps:
	$(call install_packages,DEPS,$(B)/log/deps.log)
deps-check: deps
	$(call install_packages,DEPS_TEST,$(B)/log/deps-check.log)

# ---- host ----------------------------------------------------------------------------------------

HOST_OBJ := $(HOST_SRC:%.c=$(B)/obj/%.o)
PROTO_OBJ := $(PROTO_SRC:%.c=$(B)/obj/%.o)

# Files that are part of the program, see host/api/assets.h.
API_ASSETS := $(B)/obj/api/openapi.json $(filter-out %.png,$(wildcard host/api/page/*))
API_ASSETS_OBJ := $(B)/obj/api_assets.o

# A file that went away has no time to compare, so the list is a file, too; the same for every spelling of B.
API_ASSETS_LIST := $(B)/obj/api_assets.list
API_ASSETS_NAMES := $(API_ASSETS:$(B)/%=%)
$(shell mkdir -p $(B)/obj && printf '%s\n' '$(API_ASSETS_NAMES)' | cmp -s - $(API_ASSETS_LIST) || \
	printf '%s\n' '$(API_ASSETS_NAMES)' >$(API_ASSETS_LIST))

$(B)/obj/api_assets.S: $(API_ASSETS) $(API_ASSETS_LIST) Makefile
	@mkdir -p $(@D)
	$(Q){ n=0; for file in $(API_ASSETS); do \
		name=$${file#host/api/}; \
		printf '.section .rodata\nname%d: .asciz "%s"\ndata%d: .incbin "%s"\nend%d:\n' \
			$$n "$${name#$(B)/obj/api/}" $$n "$$file" $$n; \
		printf '.section .data.rel.ro,"aw"\n.quad name%d, data%d, end%d\n' $$n $$n $$n; n=$$((n + 1)); done; \
	printf '.quad 0, 0, 0\n.section .note.GNU-stack,"",%%progbits\n'; } | \
	sed '1i .section .data.rel.ro,"aw"\n.balign 8\n.globl api_assets\napi_assets:' >$@
$(API_ASSETS_OBJ): $(B)/obj/api_assets.S
	$(call say,AS,$<)
	$(Q)$(CC) -c -o $@ $<

# What schema.def says, in the OpenAPI description and in tables for the manual.
$(B)/obj/describe: $(DESCRIBE_SRC:%.c=$(B)/obj/%.o)
	$(call say,LD,$@)
	$(Q)$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $^ $(HOST_LIBS)
$(B)/obj/api/openapi.json: host/api/openapi.json.in $(B)/obj/describe
	@mkdir -p $(@D)
	$(Q)$(B)/obj/describe openapi <$< >$@ || { rm -f $@; exit 1; }

$(B)/capsid: $(CAPSID_SRC:%.c=$(B)/obj/%.o) $(PROTO_OBJ)
	$(call say,LD,$@)
	$(Q)$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $^ $(HOST_LIBS)

$(SHARE)/capsid-api: $(API_SRC:%.c=$(B)/obj/%.o) $(PROTO_OBJ) $(API_ASSETS_OBJ)
	$(call say,LD,$@)
	@mkdir -p $(@D)
	$(Q)$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $^ $(HOST_LIBS)

$(SHARE)/import-oci: $(IMPORT_SRC:%.c=$(B)/obj/%.o)
	$(call say,LD,$@)
	@mkdir -p $(@D)
	$(Q)$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $^ $(IMPORT_LIBS)

$(SHARE)/fetch: $(FETCH_SRC:%.c=$(B)/obj/%.o)
	$(call say,LD,$@)
	@mkdir -p $(@D)
	$(Q)$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $^ $(FETCH_LIBS)

$(B)/obj/host/%.o: host/%.c $(VERSION_FILE)
	$(call say,CC,$<)
	@mkdir -p $(@D)
	$(Q)$(CCACHE) $(HOST_COMPILE) -c -o $@ $<

$(B)/obj/proto/%.o: proto/%.c
	$(call say,CC,$<)
	@mkdir -p $(@D)
	$(Q)$(CCACHE) $(PROTO_COMPILE) -c -o $@ $<

# ---- initd: static, musl -------------------------------------------------------------------------

# The build id is a hash of everything initd is made of, so equal sources give equal bytes.
INITD_INPUTS := $(sort $(wildcard initd/*.c initd/*.h proto/*.c proto/*.h proto/*.def))
INITD_BUILD := $(shell cat $(INITD_INPUTS) /dev/null | sha256sum | cut -c1-12)
INITD_CFLAGS := -Oz -g0 -flto -fno-pie -frandom-seed=$(INITD_BUILD) -fno-asynchronous-unwind-tables -fno-unwind-tables -ffunction-sections -fdata-sections \
	-fno-ident -DINITD_BUILD='"$(VERSION)-$(INITD_BUILD)"' -idirafter $(B)/linux-include
# Sorted, small variables lie side by side: after a fork each page that initd writes to costs a fault.
INITD_LDFLAGS := -Wl,-Map=$(B)/initd.map -static -no-pie -Oz -flto=auto -fdata-sections -Wl,--gc-sections -Wl,--build-id=none -Wl,-z,norelro -Wl,-z,noseparate-code -Wl,--sort-section=alignment -s
INITD_OBJ := $(INITD_SRC:%.c=$(B)/musl/%.o) $(PROTO_SRC:%.c=$(B)/musl/%.o)

# musl has no kernel headers of its own; all of /usr/include would shadow it.
$(B)/linux-include/.done:
	@mkdir -p $(@D)
	$(Q)ln -sfn /usr/include/linux $(@D)/linux
	$(Q)ln -sfn /usr/include/asm-generic $(@D)/asm-generic
	$(Q)ln -sfn /usr/include/$$($(CC) -print-multiarch)/asm $(@D)/asm
	$(Q)touch $@

$(B)/musl/%.o: %.c $(B)/linux-include/.done Makefile
	$(call say,MUSL,$<)
	@mkdir -p $(@D)
	$(Q)$(CCACHE) $(INITD_COMPILE) -c -o $@ $<

# The build id is in these objects; it must follow every input.
$(patsubst %.c,$(B)/musl/%.o,$(shell grep -lw INITD_BUILD $(wildcard initd/*.c))): $(INITD_INPUTS) $(VERSION_FILE)

$(B)/initd: $(INITD_OBJ)
	$(call say,LD,$@)
	$(Q)$(MUSL_CC) $(INITD_LDFLAGS) -o $@ $^

# Made as initd is: a jail has no libraries.
$(TETHER_SRC:%.c=$(B)/musl/%.o): INITD_CFLAGS += -Ihost
$(SHARE)/firecracker-tether: $(TETHER_SRC:%.c=$(B)/musl/%.o)
	$(call say,LD,$@)
	@mkdir -p $(@D)
	$(Q)$(MUSL_CC) -static -no-pie -Oz -flto -s -o $@ $^

# What the host brings along into a guest: the relay carries its connections when a run may use the network, look tells of an
# image's files.
HELPER_SRC := $(wildcard initd/relay/*.c initd/look/*.c)
$(SHARE)/relay $(SHARE)/look: $(PROTO_SRC:%.c=$(B)/musl/%.o)
$(SHARE)/relay: $(patsubst %.c,$(B)/musl/%.o,$(filter initd/relay/%,$(HELPER_SRC)))
$(SHARE)/look: $(patsubst %.c,$(B)/musl/%.o,$(filter initd/look/%,$(HELPER_SRC)))
$(SHARE)/relay $(SHARE)/look:
	$(call say,LD,$@)
	@mkdir -p $(@D)
	$(Q)$(MUSL_CC) -static -no-pie -Oz -flto -ffunction-sections -Wl,--gc-sections -s -o $@ $^

# ---- kernel, and what capsid needs beside itself --------------------------------------------------

# The kernel's build takes its compiler from the path.
BUILD_KERNEL := $(if $(CCACHE),PATH="/usr/lib/ccache:$$PATH" )kernel-config/build.sh
KERNEL_CACHE := $(B)/kernel

kernel: $(SHARE)/vmlinux
$(SHARE)/vmlinux: $(wildcard kernel-config/*)
	@mkdir -p $(@D)
	$(Q)$(BUILD_KERNEL) --cache $(KERNEL_CACHE) --output $@
	@touch $@

# For a test that skips without it: no network is no failure, a failed build is one.
NEWER := $(B)/kernel/newer/source.tar.xz
newer-kernel:
	$(Q)kernel-config/fetch.sh --package linux-source-6.12 --suite trixie --output $(NEWER) || true
	+$(Q)if [ -s $(NEWER) ]; then $(MAKE) --no-print-directory $(B)/test/vmlinux-newer; fi
$(B)/test/vmlinux-newer: $(wildcard kernel-config/*)
	@mkdir -p $(@D)
	$(Q)$(BUILD_KERNEL) --cache $(B)/kernel/newer --source $(NEWER) --fragment newer --fragment test-exit-port \
		--output $@ --discard-tree
	@touch $@

# Of use only where KVM is paravirtual; elsewhere KVM runs the product's kernel, or there is none. In a directory that capsid
# made nobody but its user could read the kernel, and tests run guests as other users, too.
kvm-kernel: all
	@mkdir -p $(B)/test
	+$(Q)if CAPSID_HOME=$(abspath $(B))/test/home $(B)/capsid doctor --accel auto | grep -q '/dev/kvm is paravirtual'; then \
		$(MAKE) --no-print-directory $(B)/test/vmlinux-kvm; fi
$(B)/test/vmlinux-kvm: $(wildcard kernel-config/*)
	@mkdir -p $(@D)
	$(Q)$(BUILD_KERNEL) --cache $(B)/kernel --output $@ --fragment test-kvm
	@touch $@

loopback-kernel: $(B)/test/vmlinux-loopback
$(B)/test/vmlinux-loopback: $(wildcard kernel-config/*) $(SHARE)/vmlinux
	@mkdir -p $(@D)
	$(Q)$(BUILD_KERNEL) --cache $(KERNEL_CACHE) --output $@ --fragment test-vsock-loopback
	@touch $@

SHARE_SCRIPTS := $(SHARE)/build-image $(SHARE)/debian-apt $(SHARE)/npm-tree $(SHARE)/pip-tree
SHARE_PROGRAMS := $(SHARE)/initd $(SHARE)/relay $(SHARE)/look $(SHARE_SCRIPTS) $(SHARE)/import-oci $(SHARE)/fetch $(SHARE)/firecracker-tether $(SHARE)/capsid-api $(SHARE)/bare-root.erofs
share: $(SHARE_PROGRAMS) $(SHARE)/languages/.done $(SHARE)/images/.done $(SHARE)/programs/.done
$(SHARE)/initd: $(B)/initd
	@mkdir -p $(@D)
	$(Q)install -m 755 $< $@
$(SHARE)/bare-root.erofs: $(B)/initd rootfs/make-bare-root
	@mkdir -p $(@D)
	$(Q)rootfs/make-bare-root $< $@
$(SHARE_SCRIPTS): $(SHARE)/%: rootfs/%
	@mkdir -p $(@D)
	$(Q)install -m 755 $< $@
$(SHARE)/languages/.done: $(wildcard rootfs/languages/*.ini)
$(SHARE)/images/.done: $(wildcard rootfs/images/*.ini)
$(SHARE)/languages/.done $(SHARE)/images/.done:
	@rm -rf $(@D) && mkdir -p $(@D)
	$(Q)install -m 644 $^ $(@D)/
	@touch $@

$(SHARE)/programs/.done: $(wildcard rootfs/programs/*)
	@rm -rf $(@D) && mkdir -p $(@D)
	$(Q)install -m 644 $^ $(@D)/
	@touch $@

# ---- manual --------------------------------------------------------------------------------------

# What a verb's options are is asked of the verb, fields are those of schema.def, settings those of CONFIG_SETTINGS, errors those of
# REFUSALS; the pages have the rest.
# "man -M build/man capsid-run" shows one.
MAN_DIR := $(B)/man
MAN := $(patsubst host/man/%.1.in,$(MAN_DIR)/man1/%.1,$(wildcard host/man/*.1.in)) $(MAN_DIR)/man5/capsid.conf.5
MAN_HELP := $(patsubst host/man/%.1.in,$(MAN_DIR)/help/%,$(wildcard host/man/*.1.in))
man: $(MAN)

# A file that is made whole, or not.
define make_page
@mkdir -p $(@D)
$(Q)awk -v tables=$(MAN_DIR)/tables -f host/man/page.awk $(1) $< >$@.new && mv $@.new $@
endef
$(MAN_DIR)/man1/%.1: host/man/%.1.in $(MAN_DIR)/help/% host/man/page.awk
	$(call make_page,$(MAN_DIR)/help/$*)
$(MAN_DIR)/man1/capsid-api.1: $(MAN_DIR)/tables/errors $(MAN_DIR)/tables/request
$(MAN_DIR)/man1/capsid-run.1: $(MAN_DIR)/tables/result
$(MAN_DIR)/man5/%.5: host/man/%.5.in $(MAN_DIR)/tables/settings host/man/page.awk
	$(call make_page,/dev/null)

$(MAN_DIR)/help/capsid: $(B)/capsid
	@mkdir -p $(@D)
	$(Q){ $< --help && $< doctor --help; } >$@.new && mv $@.new $@
$(MAN_DIR)/help/capsid-api: $(SHARE)/capsid-api
	@mkdir -p $(@D)
	$(Q)$< --help >$@.new && mv $@.new $@
$(filter-out %/capsid %/capsid-api,$(MAN_HELP)): $(MAN_DIR)/help/capsid-%: $(B)/capsid
	@mkdir -p $(@D)
	$(Q)$< $(subst rootfs-,rootfs ,$*) --help >$@.new && mv $@.new $@
$(addprefix $(MAN_DIR)/tables/,request result errors): $(B)/obj/describe
	@mkdir -p $(@D)
	$(Q)$< table $(@F) >$@.new && mv $@.new $@
$(MAN_DIR)/tables/settings: host/config/config.h
	@mkdir -p $(@D)
	$(Q)printf '#include "config/config.h"\n#define S(key, kind, fallback, help) @key fallback @@ help\nCONFIG_SETTINGS(S)\n' | \
		$(CC) -E -P -Ihost - | sed -n '/^@/{s/ @\([a-z_]* \)/\n@\1/g;p}' | \
		sed -E 's/^@([a-z_]*) (NULL|"") @@ "(.*)"$$/\1\t\3/; s/^@([a-z_]*) "(.*)" @@ "(.*)"$$/\1\t\3\t\2/' >$@.new && mv $@.new $@

# ---- demo ----------------------------------------------------------------------------------------

demo: deps
	+$(Q)$(MAKE) --no-print-directory all kernel
	$(Q)$(B)/capsid snapshot create --lang python
	$(Q)$(B)/capsid run --lang python --code "import platform; print('Hello from a microVM: Python', platform.python_version(), 'on Linux', platform.release())"

# ---- tests ---------------------------------------------------------------------------------------

# What the change at hand can break, in less than a minute.
quick:
	+$(Q)LINT_FILES="$$(tests/quick --files)" $(MAKE) --no-print-directory chosen-tests t="$$(tests/quick | tr '\n' ' ')"

ifdef t
.DEFAULT_GOAL := chosen-tests
check: chosen-tests
else
check: deps-check
	+$(Q)$(MAKE) --no-print-directory kernel all test-images test-programs
	$(Q)tests/run all
endif

# Also the tests that need another kernel than the product's, which make check leaves out where the kernel is not there, and the
# long forms of others.
check-all: deps-check
	+$(Q)$(MAKE) --no-print-directory loopback-kernel
	+$(Q)$(MAKE) --no-print-directory newer-kernel
	+$(Q)$(MAKE) --no-print-directory kvm-kernel
	+$(Q)CHECK_ALL=1 $(MAKE) --no-print-directory check

# What the tests in the variable t need, and these tests.
chosen-tests: $(if $(t),$(shell tests/run -n $(t)))
	$(Q)tests/run $(t)

# Takes hours where guests are emulated. LANGUAGES="a b": only these.
check-languages: deps-check
	+$(Q)$(MAKE) --no-print-directory all kernel
	$(Q)tests/languages/run $(LANGUAGES)

check-%: deps-check
	+$(Q)$(MAKE) --no-print-directory chosen-tests t='$*'

lint: all check-lint
format:
	$(Q)clang-format -i $(wildcard *.c */*.[ch] */*/*.[ch])

include tests/tests.mk

# ---- for editors, and for those who ask what is tested ---------------------------------------------

# compile_command FILE,COMMAND: an element of compile_commands.json
compile_command = {"directory": "$(CURDIR)", "file": "$(1)", "command": "$(subst ",\",$(2)) -c $(1)"},
compile_commands.json: $(B)/linux-include/.done
	$(file >$(B)/compile_commands.json,[)
	$(foreach f,$(HOST_SRC),$(file >>$(B)/compile_commands.json,$(call compile_command,$f,$(HOST_COMPILE))))
	$(foreach f,$(PROTO_SRC),$(file >>$(B)/compile_commands.json,$(call compile_command,$f,$(PROTO_COMPILE))))
	$(foreach f,$(INITD_SRC) $(HELPER_SRC),$(file >>$(B)/compile_commands.json,$(call compile_command,$f,$(INITD_COMPILE))))
	$(foreach f,$(GUEST_SRC),$(file >>$(B)/compile_commands.json,$(call compile_command,$f,$(GUEST_COMPILE))))
	$(foreach f,$(UNIT_SRC) $(FUZZ_SRC),$(file >>$(B)/compile_commands.json,$(call compile_command,$f,$(SAN_COMPILE))))
	$(foreach f,$(NS_SRC) $(NS_LIB_SRC) $(TOOL_SRC),$(file >>$(B)/compile_commands.json,$(call compile_command,$f,$(PLAIN_COMPILE))))
	$(Q)sed -i '$$s/,$$/\n]/' $(B)/compile_commands.json
	$(call say,JSON,$(B)/compile_commands.json)
.PHONY: compile_commands.json

# Lines that the tests run, of each room, measured in a build directory of its own; t="..." chooses other tests.
COVERAGE := $(B)/coverage
COVERAGE_TESTS := unit vm/run vm/files vm/phases vm/events vm/snapshot vm/api vm/sessions vm/rootfs vm/pool
coverage: deps-check
	$(call install_packages,DEPS_COVERAGE,$(B)/log/deps-coverage.log)
	+$(Q)$(MAKE) --no-print-directory kernel
	$(Q)mkdir -p $(COVERAGE)/test $(B)/test/home && ln -sfn ../kernel $(COVERAGE)/kernel && ln -sfn ../../test/home $(COVERAGE)/test/home
	$(Q)find $(COVERAGE)/ -name '*.gcda' -delete
	+$(Q)$(MAKE) --no-print-directory B=$(COVERAGE) FUZZ_CC='$(CC)' SANITIZE=--coverage SAN_FLAGS='--coverage -O0 -g' \
		CFLAGS='--coverage -O0 -g -Wno-error' all kernel unit-programs guest-programs tool-programs
	$(Q)BUILD=$(abspath $(COVERAGE)) tests/run $(or $(t),$(COVERAGE_TESTS)); status=$$?; \
	gcovr --root . --filter host/ --filter proto/ --csv --output $(COVERAGE)/lines.csv $(COVERAGE) && \
	tests/coverage $(COVERAGE)/lines.csv && exit $$status

bench: all kernel guest-programs bench-programs
	$(Q)tests/bench/run
	$(Q)tests/bench/images
	$(Q)tests/bench/initd
	$(Q)CAPSID_DATA=$(abspath $(SHARE)) SPAWN=$(T)/guest/bench_spawn TRUE=$(T)/guest/bench_true $(T)/bench/pool
	$(Q)CAPSID_DATA=$(abspath $(SHARE)) tests/bench/api
	$(Q)CAPSID_DATA=$(abspath $(SHARE)) tests/bench/egress

# ---- install, clean ------------------------------------------------------------------------------

install: all $(SHARE)/vmlinux install-man
	install -d $(addprefix $(DESTDIR)$(PREFIX)/,bin lib/capsid/languages lib/capsid/images lib/capsid/programs share/doc/capsid \
		lib/systemd/system share/bash-completion/completions share/zsh/site-functions)
	install -m 755 $(B)/capsid $(DESTDIR)$(PREFIX)/bin/
	install -m 755 $(SHARE_PROGRAMS) $(DESTDIR)$(PREFIX)/lib/capsid/
	install -m 644 $(SHARE)/vmlinux $(DESTDIR)$(PREFIX)/lib/capsid/
	install -m 644 $(SHARE)/languages/*.ini $(DESTDIR)$(PREFIX)/lib/capsid/languages/
	install -m 644 $(SHARE)/images/*.ini $(DESTDIR)$(PREFIX)/lib/capsid/images/
	install -m 644 $(SHARE)/programs/* $(DESTDIR)$(PREFIX)/lib/capsid/programs/
	install -m 644 proto/PROTOCOL.md $(DESTDIR)$(PREFIX)/share/doc/capsid/
	install -m 644 host/completion/capsid.bash $(DESTDIR)$(PREFIX)/share/bash-completion/completions/capsid
	install -m 644 host/completion/_capsid $(DESTDIR)$(PREFIX)/share/zsh/site-functions/
	install -m 644 host/server/capsid-api.service host/server/capsid-api.socket $(DESTDIR)$(PREFIX)/lib/systemd/system/
	sed -i 's|/usr/local|$(PREFIX)|' $(DESTDIR)$(PREFIX)/lib/systemd/system/capsid-api.service

install-man: man
	install -d $(addprefix $(DESTDIR)$(PREFIX)/share/man/,man1 man5)
	install -m 644 $(filter %.1,$(MAN)) $(DESTDIR)$(PREFIX)/share/man/man1/
	install -m 644 $(filter %.5,$(MAN)) $(DESTDIR)$(PREFIX)/share/man/man5/

# The package's version is VERSION, its day that of the last commit. Compiled anew, with Debian's flags; what is compiled stays.
deb: deps
	$(call install_packages,DEPS_DEB,$(B)/log/deps-deb.log)
	+$(Q)$(MAKE) --no-print-directory kernel
	$(Q)rm -rf $(B)/deb/debian && mkdir -p $(B)/deb && cp -R host/debian $(B)/deb/debian
	$(Q)printf 'capsid (%s) unstable; urgency=medium\n\n  * Built from the sources.\n\n -- %s  %s\n' '$(VERSION)' \
		"$$(sed -n 's/^Maintainer: //p' host/debian/control)" \
		"$$(git log -1 --format=%cD 2>/dev/null || date -R)" >$(B)/deb/debian/changelog
	+$(Q)cd $(B)/deb && { dpkg-buildpackage -b -us -uc >deb.log 2>&1 || { tail -n 20 deb.log >&2; exit 1; }; }
	$(Q)lintian --fail-on error $(B)/capsid_$(VERSION)_amd64.deb
	$(Q)printf 'Built %s\n' $(B)/capsid_$(VERSION)_amd64.deb

clean:
	$(Q)find $(B) -mindepth 1 -maxdepth 1 ! -name kernel -exec rm -rf {} + 2>/dev/null || true
distclean:
	$(Q)rm -rf $(B)

-include $(HOST_OBJ:.o=.d) $(B)/obj/host/describe.d $(PROTO_OBJ:.o=.d) $(INITD_OBJ:.o=.d)
