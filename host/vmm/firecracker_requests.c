#include "vmm/firecracker_requests.h"

#include "base/cleanup.h"

#include <string.h>
#include "base/text.h"
#include "vmm/firecracker_jail.h"

#define GUEST_CID 3 /* the least that a guest may have (vsock(7)); each VM has a vsock of its own */

/*
 * Firecracker adds root=/dev/vda and ro for a read-only root device by itself, and where its devices are: our kernel has
 * no ACPI, so it finds them in the older of its two ways (docs/kernel-policy.md). No serial console: it would cost time
 * at every restore (docs/prod-host-setup.md). reboot=k ends Firecracker, which knows no other reset.
 */
#define KERNEL_COMMAND_LINE                                                                                  \
    "rootfstype=erofs init=/sbin/initd 8250.nr_uarts=0 quiet loglevel=1 panic=-1 reboot=k "                  \
    "pci=off" GUEST_OPTIONS

static int put(struct firecracker_api *a, const char *path, json_t *body, struct error *e)
{
    return firecracker_api_call(a, "PUT", path, body, NULL, e);
}

/* Takes the body over. NULL, as of an argument that is not UTF-8, is for Firecracker to refuse. */
static void add_request(json_t *requests, const char *path, json_t *body)
{
    json_array_append_new(requests, json_pack("{s:s, s:o?}", "path", path, "body", body));
}

/* The root device is the guest's first whatever the order (src/vmm/src/vmm_config/drive.rs); the others follow as they come. */
static void add_drives(json_t *requests, bool disk, unsigned layers)
{
    add_request(requests, "/drives/root",
                json_pack("{s:s, s:s, s:b, s:b}", "drive_id", "root", "path_on_host", FIRECRACKER_IMAGE,
                          "is_root_device", 1, "is_read_only", 1));
    /* Nothing of it outlives the VM but by a snapshot, whose files are synced when it is complete: so the guest's
     * flushes can be ignored (docs/api_requests/block-caching.md). A full host disk is the guest's EIO. */
    if (disk)
        add_request(requests, "/drives/upper",
                    json_pack("{s:s, s:s, s:b, s:b, s:s}", "drive_id", "upper", "path_on_host", SNAPSHOT_DISK,
                              "is_root_device", 0, "is_read_only", 0, "cache_type", "Unsafe"));
    for (unsigned i = 0; i < layers; i++) {
        cleanup_free char *path = text_format("/drives/layer%u", i),
                          *file = text_format(FIRECRACKER_LAYER, i);
        add_request(requests, path,
                    json_pack("{s:s, s:s, s:b, s:b}", "drive_id", path + strlen("/drives/"), "path_on_host",
                              file, "is_root_device", 0, "is_read_only", 1));
    }
}

json_t *firecracker_machine(const struct vm_spec *spec)
{
    json_t *requests = json_array();
    cleanup_buffer struct buffer arguments = {0};

    buffer_add_text(&arguments, KERNEL_COMMAND_LINE);
    vm_name_disks(spec, spec->disk != NULL, &arguments);
    buffer_add_text(&arguments, "%s%s", spec->kernel_args[0] ? " " : "", spec->kernel_args);

    add_request(requests, "/machine-config",
                json_pack("{s:I, s:I, s:b, s:b}", "vcpu_count", (json_int_t)spec->shape.vcpus, "mem_size_mib",
                          (json_int_t)spec->shape.memory_mib, "smt", 0, "track_dirty_pages", 0));
    add_request(
        requests, "/boot-source",
        json_pack("{s:s, s:s}", "kernel_image_path", FIRECRACKER_KERNEL, "boot_args", arguments.data));
    add_drives(requests, spec->disk != NULL, vm_layer_count(spec));
    add_request(requests, "/vsock",
                json_pack("{s:i, s:s}", "guest_cid", GUEST_CID, "uds_path", FIRECRACKER_VSOCK));
    return requests;
}

int firecracker_boot(struct firecracker_api *a, const struct vm_spec *spec, struct error *e)
{
    json_t *requests = firecracker_machine(spec);
    int result = 0;

    for (size_t i = 0; result == 0 && i < json_array_size(requests); i++) {
        const json_t *request = json_array_get(requests, i);
        result = put(a, json_string_value(json_object_get(request, "path")),
                     json_incref(json_object_get(request, "body")), e);
    }
    json_decref(requests);
    return result < 0 ? -1 : put(a, "/actions", json_pack("{s:s}", "action_type", "InstanceStart"), e);
}

int firecracker_load(struct firecracker_api *a, const struct firecracker_version *version, struct error *e)
{
    json_t *body = json_pack("{s:s, s:{s:s, s:s}, s:b}", "snapshot_path", SNAPSHOT_STATE, "mem_backend",
                             "backend_type", "File", "backend_path", SNAPSHOT_MEMORY, "resume_vm", 1);

    /* Before 1.16 the socket is where the snapshot says; made by this driver, that is the same relative name. */
    if (firecracker_version_at_least(version, 1, 16))
        json_object_set_new(body, "vsock_override", json_pack("{s:s}", "uds_path", FIRECRACKER_VSOCK));
    return put(a, "/snapshot/load", body, e);
}

int firecracker_save(struct firecracker_api *a, struct error *e)
{
    if (firecracker_api_call(a, "PATCH", "/vm", json_pack("{s:s}", "state", "Paused"), NULL, e) < 0)
        return -1;
    return put(a, "/snapshot/create",
               json_pack("{s:s, s:s, s:s}", "snapshot_type", "Full", "snapshot_path", SNAPSHOT_STATE,
                         "mem_file_path", SNAPSHOT_MEMORY),
               e);
}
