"""What is to be known of an epoch, secrets included, as fields of a test vector."""

from __future__ import annotations

import hashlib

import av

from pipeline.evidence.body import TileItem, mask_of
from pipeline.evidence.group_record import (
    SCENE_TRACK,
    Entry,
    EntryKind,
    GroupRecord,
    associated_data,
    nonce,
)
from pipeline.evidence.key_record import KeyRecord
from pipeline.evidence.sei import sei_nal
from pipeline.frames import Motion, part_of, planes_of
from pipeline.vault.epoch_keys import track_secret

from .vector_epochs import Made, Readers, Sealed, opens
from .vector_seeds import Fields, b64


def described(epoch: Made) -> Fields:
    """All of it, secrets included."""
    plan, record = epoch.plan, epoch.record
    names = [group.name for group in plan.readers]
    entries = [entry.place for group in epoch.groups for entry in group.entries]
    of = {SCENE_TRACK if p.kind is EntryKind.SCENE else p.track for p in entries}
    kinds = sorted({(int(p.kind), p.track) for p in entries})
    return {
        "about": plan.about,
        "frames": [frame.hex() for frame in epoch.frames],
        "opens_with": plan.opens_with,
        "opens": opens(epoch.groups),
        "key_record": {
            **_key_fields(record),
            "groups": [_group_fields(epoch, group) for group in plan.readers],
            **_carried(record.encode()),
            "sei_h265_base64": b64(sei_nal(record.encode(), "h265")),
            "context": record.context.hex(),
        },
        "track_secrets": [
            {
                "group": name,
                "track": track,
                "secret": track_secret(
                    plan.secret(name), plan.epoch_id, record.context, name, track
                ).hex(),
            }
            for name in names
            for track in sorted(of)
        ],
        "entry_keys": [
            {"kind": kind, "track": track, "key": epoch.key(kind, track).hex()}
            for kind, track in kinds
        ],
        "pictures": [
            {"kind": kind, "track": track, "pictures": _pictures(epoch, kind, track)}
            for kind, track in kinds
            if kind != EntryKind.MOTION
        ],
        "group_records": [_record_fields(epoch, at) for at in range(len(epoch.groups))],
    }


def _carried(record: bytes) -> Fields:
    return {"record_base64": b64(record), "sei_h264_base64": b64(sei_nal(record, "h264"))}


def _key_fields(record: KeyRecord) -> Fields:
    return {
        "epoch_id": record.epoch_id.hex(),
        "previous_id": record.previous_id.hex(),
        "previous_frames": record.previous_frames,
        "sequence": record.sequence,
        "started_utc_ms": record.started_utc_ms,
        "size_px": [record.width_px, record.height_px],
        "detail": record.detail,
        "site": record.site,
        "camera": record.camera,
        "service_key": record.service_key.hex(),
        "digest": record.digest.hex(),
        "parameters": record.parameters.hex(),
        "signature": record.signature.hex(),
    }


def _group_fields(epoch: Made, group: Readers) -> Fields:
    found = next(each for each in epoch.record.groups if each.name == group.name)
    fields: Fields = {
        "name": group.name,
        "threshold": group.threshold,
        "people": group.people,
        "secret": epoch.plan.secret(group.name).hex(),
        "commitment": found.commitment.hex(),
    }
    if found.sealed_secret is not None:
        fields["sealed_secret"] = found.sealed_secret.hex()
        fields["shared"] = epoch.plan.shared(group.name).hex()
        fields["shares"] = [share.hex() for share in epoch.shares[group.name]]
    return fields


def _record_fields(epoch: Made, index: int) -> Fields:
    group = epoch.groups[index]
    entries = epoch.plan.groups[index][1]
    return {
        "epoch_id": group.head.epoch_id.hex(),
        "first": group.head.first,
        "is_last": group.head.is_last,
        "digests": [digest.hex() for digest in group.head.digests],
        "signature": group.signature.hex(),
        "entries": [
            _entry_fields(epoch, group, entry, sealed)
            for entry, sealed in zip(group.entries, entries, strict=True)
        ],
        **_carried(group.encode()),
    }


def _entry_fields(epoch: Made, group: GroupRecord, entry: Entry, sealed: Sealed) -> Fields:
    place, context = entry.place, epoch.record.context
    fields: Fields = {
        "kind": int(place.kind),
        "track": place.track,
        "presence": place.presence,
        "box_xywh_px": place.box_xywh_px,
        "nonce": nonce(group.head, place).hex(),
        "associated_data": associated_data(context, group.head, place).hex(),
        "tag": entry.sealed[-16:].hex(),
        "plain_base64": b64(sealed.padded),
    }
    if place.kind is EntryKind.MOTION:
        motions = [item for item in sealed.contents if isinstance(item, Motion)]
        return {**fields, "motions": [_motion_fields(item) for item in motions]}
    shown = [item for item in sealed.contents if isinstance(item, TileItem)]
    return {**fields, "items": [_item_fields(item) for item in shown]}


def _motion_fields(motion: Motion) -> Fields:
    return {
        "key_number": motion.key_number,
        "key_xys_px": motion.key_xys_px,
        "xys_px": motion.xys_px,
        "grid": motion.grid.tolist(),
    }


def _item_fields(item: TileItem) -> Fields:
    mask = mask_of(item)
    return {
        "starts_video": item.starts_video,
        "box_xywh_px": item.box_xywh_px,
        "packet": item.packet.hex(),
        "mask": None if item.mask is None else item.mask.hex(),
        "mask_rows": None if mask is None else ["".join(map(str, row)) for row in mask],
    }


def _pictures(epoch: Made, kind: int, track: int) -> list[Fields]:
    """Of one track's tile videos: their size, and what the rectangles' pixels come to."""
    context, found = None, []
    sealed = [entry for _, entries in epoch.plan.groups for entry in entries]
    own = [entry for entry in sealed if (entry.kind, entry.track) == (kind, track)]
    for item in (item for entry in own for item in entry.contents):
        assert isinstance(item, TileItem)
        if item.starts_video or context is None:
            context = av.CodecContext.create("h264", "r")
        (picture,) = context.decode(av.Packet(item.packet))
        _, _, width, height = item.box_xywh_px
        x, y = (picture.width - width) // 4 * 2, (picture.height - height) // 4 * 2
        tile = part_of(planes_of(picture), x, y, width, height)
        joined = b"".join(plane.tobytes() for plane in (tile.y, tile.u, tile.v))
        found.append(
            {
                "video_px": [picture.width, picture.height],
                "planes_sha256": hashlib.sha256(joined).hexdigest(),
            }
        )
    return found
