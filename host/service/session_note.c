#include "service/session_note.h"

#include "base/log.h"

static int add_note(struct ledger *l, const char *owner, const char *id, int64_t now, struct error *e)
{
    return records_do(l->records, "DELETE FROM sessions WHERE ended < ?",
                      RECORDS_VALUES(records_number(now - SESSION_NOTE_KEPT_S * INT64_C(1000000000))),
                      e) < 0 ||
                   records_do(l->records, "INSERT INTO sessions (id, owner) VALUES (?, ?)",
                              RECORDS_VALUES(records_text(id), records_text(owner)), e) < 0
               ? -1
               : 0;
}

void session_note_begin(struct ledger *l, const char *owner, const char *id)
{
    struct error e = {0};
    int64_t now;

    if (l && (ledger_begin(l, &now, &e) < 0 || ledger_end(l, add_note(l, owner, id, now, &e), &e) < 0))
        log_warning("session %s is not noted: %s", id, e.text);
}

void session_note_end(struct ledger *l, const char *id)
{
    struct error e = {0};
    int64_t now;

    if (!l)
        return;
    int result = ledger_begin(l, &now, &e);
    if (result == 0) {
        result =
            records_do(l->records, "DELETE FROM sessions WHERE id = ?", RECORDS_VALUES(records_text(id)), &e);
        result = ledger_end(l, result < 0 ? -1 : 0, &e);
    }
    if (result < 0)
        log_warning("the end of session %s is not noted: %s", id, e.text);
}

bool session_note_lost(struct ledger *l, const char *owner, const char *id)
{
    struct error ignored = {0};
    int64_t now, lost = 0;

    if (!l || ledger_begin(l, &now, &ignored) < 0)
        return false;
    records_ask_number(l->records, "SELECT count(*) FROM sessions WHERE id = ? AND owner = ? AND ended >= ?",
                       RECORDS_VALUES(records_text(id), records_text(owner),
                                      records_number(now - SESSION_NOTE_KEPT_S * INT64_C(1000000000))),
                       &lost, &ignored);
    ledger_end(l, 0, &ignored);
    return lost > 0;
}
